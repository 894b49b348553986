r"""JKO steps on a grid by entropic transport ([peyre2015]).

    min_π  (⟨c, π⟩ + ε H(π)) / (2τ) + F(π₂) − (ε/4τ) H(π₂)   over plans with first marginal μ_k

with c = ‖x − y‖² and H = ∫ log. Entropic transport spreads what it moves by √(ε/2); half of the
entropy of the second marginal is taken off, which leaves O(ε²). The plan is a K b, K = e^{−c/ε} a
product over the axes, and the equations are

    a = μ_k / K b,   ½ log ρ + (2τ/ε) δF(ρ) = log Kᵀa,   b = ρ / Kᵀa,

the second solved cell by cell: for energies whose first variation at a point depends on the
density there. A ceiling (`Congestion`) cuts its solution off.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array

from .._custom_types import Positive
from .._numerics import Checked
from ..energies import AbstractEnergy, Congestion
from ..energies._pairs import lattices, log_product
from ..measures import GridDensity
from ..measures._base import replace

# log ρ where there is nothing, and what it may grow by in one iteration.
_EMPTY = -80.0
_LEAP = 3.0


class EntropicScaling(Checked):
    """The inner iteration of `JKO` on a grid: entropic transport at the scale `epsilon`.

    For energies of the density at a point, in sums: `PotentialEnergy`, `Entropy`, `PowerEnergy`,
    `KL`, `Congestion`.

    **Arguments:** `epsilon`: ε, in the units of ‖x − y‖², at least about the square of a cell.
    `max_steps`: bound on the iterations of a step.

    !!! example

        `fm.EntropicScaling(0.05)`
    """

    epsilon: Positive
    max_steps: int = 5000

    def step(self, energy: AbstractEnergy, mu: GridDensity, tau: Any) -> Array:
        """The density after one step of length `tau` from `mu`."""
        dtype = mu.rho.dtype
        epsilon = jnp.asarray(self.epsilon, dtype)
        kernels = [-cost / epsilon for cost in lattices(mu, mu).costs]
        ceiling = jnp.log(jnp.min(jnp.array([jnp.inf, *_ceilings(energy)], dtype)))
        points = mu.centres().reshape(-1, mu.rho.ndim)
        start = jnp.log(mu.rho)

        def slope(u):
            there = replace(mu, rho=jnp.exp(u))
            variation: Any = jax.vmap(lambda x: energy.first_variation(x, there))(points)
            return 2 * tau / epsilon * variation.reshape(u.shape)

        def iterate(carry, _):
            log_b, u = carry
            log_q = log_product(kernels, start - log_product(kernels, log_b))
            force, stiffness = jax.jvp(slope, (u,), (jnp.ones_like(u),))
            # One step of Newton's method for u = log ρ; beyond the ceiling it is the ceiling.
            move = (log_q - u / 2 - force) / (0.5 + stiffness)
            u = jnp.minimum(jnp.clip(u + jnp.clip(move, -_LEAP, _LEAP), _EMPTY), ceiling)
            return (log_b + jnp.maximum(u - log_q, 2 * _EMPTY)) / 2, u

        carry = (jnp.zeros_like(start), jnp.minimum(jnp.clip(start, _EMPTY), ceiling))
        tolerance = float(jnp.finfo(dtype).eps) ** 0.5
        found = optx.fixed_point(
            iterate,
            optx.FixedPointIteration(tolerance, tolerance, norm=optx.max_norm),
            carry,
            max_steps=self.max_steps,
            throw=False,
        )
        rho = jnp.exp(found.value[1])
        rho = rho * (mu.mass() / (jnp.sum(rho) * mu.cell))
        solved = found.result == optx.RESULTS.successful
        return jnp.where(solved, jnp.minimum(rho, jnp.exp(ceiling)), jnp.nan)


def _ceilings(energy: AbstractEnergy) -> list[Any]:
    parts = jax.tree.leaves(energy, is_leaf=lambda part: isinstance(part, Congestion))
    return [part.ceiling for part in parts if isinstance(part, Congestion)]

r"""Brownian particles of finite size, which exclude each other ([bruna2012]).

    dX_i = −D_i ∇V(X_i) dt + √(2D_i) dW_i,   |X_i − X_j| ≥ ½(ε_i + ε_j)

with reflection where two touch. On the line rods never pass: less the lengths between them they
are points, and points that reflect each other are free points put in order. In more dimensions the
densities of many small particles follow `CrossDiffusion`; on the line that of n rods of one length
φ/n is the flow of the energy `Exclusion(φ)`, ∂_t ρ = ∂_x(∂_x ρ/(1 − φρ)²).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import FloatScalar, Point, PositiveArray
from ..._numerics import safe_sqrt
from ..._system import AbstractSystem
from ...measures import Particles, Rates
from ...measures._base import replace
from ...noise._noise import Isotropic
from ...spaces import Box, Euclidean, Product, Torus

# Passes over all pairs after a step; a pass parts pairs, and may press them against others.
_PASSES = 12


class ExcludingParticles(AbstractSystem):
    r"""Hard rods, disks and balls, of one species or several.

    Points are vectors, or pairs (x, i) with an integer i for the species, on a torus with
    `space=Product((Torus(), Euclidean()))`. On the line (`Euclidean`) with one `diffusion` any step
    is exact without a potential. Elsewhere pairs that overlap are reflected and parted, in n²: they
    push too little, by a tenth where √(2Dh) is a fifth of the diameters, a third at two fifths.

    **Arguments:** `diameter`: ε, a number or one for each species. `diffusion`: D, the same.
    `potential`: V in units of the temperature, a function of a point; `None` is none.

    **Raises:** `ValueError` for states without points in a flat box or torus, or with weights.

    !!! example

        `disks = fm.Particles(x, space=fm.Torus(1.0))`
        `fm.simulate(fm.ExcludingParticles(0.05), disks, [0.0, 0.1], dt=1e-4, key=key)`
    """

    diameter: PositiveArray
    diffusion: PositiveArray = 1.0
    potential: Callable[[Point], FloatScalar] | None = None

    def __call__(self, t, state):
        if not isinstance(state, Particles) or state.log_w is not None:
            raise ValueError("ExcludingParticles moves Particles that are equal: without weights.")
        if not isinstance(_space(state), Euclidean | Torus | Box):
            raise ValueError(f"ExcludingParticles knows no contacts on {state.space}.")

        def law(point):
            height = (lambda x: 0.0) if self.potential is None else self.potential
            slope, d = eqx.filter_grad(height)(point), _of(self.diffusion, point)
            push = jax.tree.map(lambda v: -d.astype(v.dtype) * v, slope)
            return Rates(push, Isotropic(jnp.sqrt(2 * d)))

        return state.lift(law)

    def transition(self, t, state, dt, increments):
        """One step of all particles, of length `dt`, by Brownian increments over it."""
        drift, noise = self(t, state)
        here, moves = _places(state.x), (_places(drift.x), _places(noise.apply(increments).x))
        there = here + jnp.asarray(dt, here.dtype) * moves[0] + moves[1]
        size = jax.vmap(lambda point: _of(self.diameter, point))(state.x).astype(here.dtype)
        contact = (size[:, None] + size[None, :]) / 2
        single = here.shape[1] == 1 and isinstance(_space(state), Euclidean)
        if single and jnp.ndim(self.diffusion) == 0:
            there = _in_file(here[:, 0], there[:, 0], contact)[:, None]
        else:
            d = jax.vmap(lambda point: _of(self.diffusion, point))(state.x).astype(here.dtype)
            there = _parted(there, contact, d[:, None] / (d[:, None] + d), _space(state))
        return replace(state, x=there if isinstance(state.x, Array) else (there, *state.x[1:]))


def _of(value: Any, point: Point) -> Array:
    """The value of a point's species."""
    return jnp.asarray(value) if jnp.ndim(value) == 0 else jnp.asarray(value)[point[1]]


def _space(state: Particles) -> Any:
    """Where the positions are; labels are in a product with anything."""
    return state.space.spaces[0] if isinstance(state.space, Product) else state.space


def _places(x: Any) -> Array:
    return x if isinstance(x, Array) else x[0]


def _in_file(here: Array, there: Array, contact: Array) -> Array:
    """Rods in their old order: free points, sorted, on the line without the rods."""
    order = jnp.argsort(here)
    lengths = jnp.cumsum(contact[order[1:], order[:-1]])
    lengths = jnp.concatenate([jnp.zeros(1, here.dtype), lengths])
    free = jnp.sort(there[order] - lengths)
    return jnp.zeros_like(here).at[order].set(free + lengths)


def _parted(x: Array, contact: Array, share: Array, space: Any) -> Array:
    """Points pushed along their lines of centres until none overlap, in proportion to D."""
    apart = space.displacement if isinstance(space, Torus) else jnp.subtract
    others = ~jnp.eye(len(x), dtype=bool)

    def push(x, strength):
        gap = jax.vmap(lambda a: jax.vmap(lambda b: apart(a, b))(x))(x)
        distance = safe_sqrt(jnp.sum(gap**2, -1))
        overlap = jnp.where(others, jnp.maximum(contact - distance, 0), 0)
        scale = overlap * share / jnp.where(distance > 0, distance, 1)
        return x + strength * jnp.einsum("ij,ijd->id", scale, gap), None

    # Reflected first: twice the overlap.
    return jax.lax.scan(push, x, jnp.ones(_PASSES, x.dtype).at[0].set(2))[0]

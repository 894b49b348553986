r"""Mean-field Langevin dynamics: noisy training of infinitely many neurons ([hu2021]).

    dX = −∇ δF/δμ(X) dt + √(2τ) dW,

the Wasserstein gradient flow of F(μ) + τ ∫ ρ log ρ; its fixed point is the Gibbs law
ρ ∝ exp(−δF/δμ(x) / τ) in its own field. Additive noise.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optimistix as optx

from ..._custom_types import FloatScalar, NonNegative
from ..._numerics._cubature import expect
from ..._system import AbstractMeanField
from ...energies import AbstractEnergy, Functional
from ...measures import AbstractMeasure, Gaussian, GridDensity, Rates
from ...measures._base import replace
from ...noise._noise import Isotropic

Law = TypeVar("Law", bound=AbstractMeasure)


class MeanFieldLangevin(AbstractMeanField):
    r"""Langevin dynamics in the field of an energy.

    **Arguments:**

    - `energy`: the functional F of a measure (`PotentialEnergy(V) + InteractionEnergy(K)`, …), or a
      mean-field system without noise, such as `ShallowNetwork`, whose velocity is −∇ δF/δμ.
    - `temperature`: τ ≥ 0, the weight of the entropy.

    !!! example

        `fm.MeanFieldLangevin(fm.PotentialEnergy(f), 0.1)`
    """

    energy: AbstractEnergy | AbstractMeanField
    temperature: NonNegative = 1.0

    def rates(self, t, x, mu):
        temperature = self.temperature
        if isinstance(self.energy, AbstractEnergy):
            velocity = self.energy.velocity(x, mu)
            diffusivity = self.energy.diffusivity(x, mu)
            temperature = temperature if diffusivity is None else temperature + diffusivity
        else:
            velocity = self.energy.rates(t, x, mu).velocity
        dtype = jnp.result_type(*jax.tree.leaves(velocity))
        return Rates(velocity, Isotropic(jnp.sqrt(2 * jnp.asarray(temperature, dtype))))

    def fixed_point(self, mu: Law, damping: FloatScalar = 0.5, max_steps: int = 10_000) -> Law:
        r"""The Gibbs law in its own field, by log ρ ← (1 − s) log ρ − s δF/δμ / τ.

        From a `Gaussian` the stationary closure: E ∇δF/δμ = 0 and Σ⁻¹ = E ∇²δF/δμ / τ. It is
        differentiable in the energy's parameters and in τ, through the fixed point.

        **Arguments:** `mu`: where to start, a `GridDensity` or a `Gaussian`. `damping`: s in
        (0, 1]; where the iteration does not settle, take it smaller. `max_steps`: bound on them.

        **Raises:** `ValueError` for particles: atoms have no density, run the dynamics instead.
        """
        if isinstance(mu, GridDensity):
            start, advance = jnp.log(mu.rho / mu.mass()), _on_grid
        elif isinstance(mu, Gaussian):
            start, advance = (mu.m, mu.cov), _on_gaussian
        else:
            raise ValueError(
                f"`mu` is {type(mu).__name__}; a Gibbs law needs a `GridDensity` or a `Gaussian`. "
                "From particles run the dynamics for long."
            )
        energy: Any = self.energy
        if not isinstance(energy, AbstractEnergy):
            energy = Functional(energy.risk)
        tolerance = 100 * float(jnp.finfo(jax.tree.leaves(start)[0].dtype).eps)
        solved: Any = optx.fixed_point(
            lambda z, args: advance(mu, z, *args),
            optx.FixedPointIteration(tolerance, tolerance),
            start,
            args=(energy, jnp.asarray(self.temperature), jnp.asarray(damping)),
            max_steps=max_steps,
        ).value
        if isinstance(mu, GridDensity):
            return replace(mu, rho=jnp.exp(solved))
        return replace(mu, m=solved[0], cov=solved[1])


def _on_grid(mu, log_rho, energy, temperature, damping):
    law = replace(mu, rho=jnp.exp(log_rho))
    points = mu.centres().reshape(-1, log_rho.ndim)
    variation = jax.vmap(lambda x: energy.first_variation(x, law))(points).reshape(log_rho.shape)
    mixed = (1 - damping) * log_rho - damping * variation / temperature
    return mixed - jax.nn.logsumexp(mixed) - jnp.log(mu.cell)


def _on_gaussian(mu, moments, energy, temperature, damping):
    m, cov = moments
    law = replace(mu, m=m, cov=cov)
    slope = jax.grad(lambda x: energy.first_variation(x, law))
    precision = (1 - damping) * jnp.linalg.inv(cov)
    precision = precision + damping * expect(jax.jacfwd(slope), m, cov) / temperature
    cov = jnp.linalg.inv((precision + precision.T) / 2)
    return m - damping * cov @ expect(slope, m, law.cov) / temperature, cov

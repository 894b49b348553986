r"""Langevin dynamics in the field of its own past ([du2023]).

    dX = −∇ δF/δμ(X, m_t) dt + √(2τ) dW,   dm_t = λ (δ_{X_t} − m_t) dt

A single walker needs no other: as λ → 0 its past m approaches the fixed point of mean-field
Langevin dynamics, ρ ∝ exp(−δF/δμ / τ). Additive noise.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import NonNegative
from ..._system import AbstractMeanField, AbstractSystem, _SpeciesNoise
from ...energies import AbstractEnergy
from ...measures import Gaussian, GridDensity, Increment, Particles
from ...measures._base import replace
from ._mean_field_langevin import MeanFieldLangevin


class SelfInteractingLangevin(AbstractSystem):
    r"""Walkers in the field of what they have visited.

    The state is a dict: `"walkers"`, `Particles` (one or several, that share a past), and
    `"past"`, the measure m: a `GridDensity`, or a `Gaussian` where two moments are enough, as they
    are for quadratic interactions.

    **Arguments:**

    - `energy`, `temperature`: F and τ of `MeanFieldLangevin`.
    - `forgetting`: λ > 0; the past reaches back about 1/λ.

    !!! example

        `fm.SelfInteractingLangevin(fm.PotentialEnergy(f), 0.1)`
    """

    energy: AbstractEnergy | AbstractMeanField
    temperature: NonNegative = 1.0
    forgetting: NonNegative = 0.1

    def __call__(self, t, state):
        walkers, past = state["walkers"], state["past"]
        law = MeanFieldLangevin(self.energy, self.temperature)
        moved = walkers.lift(lambda x: law.rates(t, x, past))
        if isinstance(past, Gaussian):
            away = walkers.mean() - past.m
            spread = walkers.covariance() + jnp.outer(away, away)
            change = replace(past, m=away, cov=spread - past.cov)
        elif isinstance(past, GridDensity):
            change = replace(past, rho=_deposit(walkers, past) - past.rho)
        else:
            raise ValueError(
                f"`past` is {type(past).__name__}; the past is kept as a `GridDensity`, or as a "
                "`Gaussian` where two moments are enough."
            )
        flow = jax.tree.map(lambda a: jnp.asarray(self.forgetting, a.dtype) * a, change)
        drift = {"walkers": moved.drift, "past": flow}
        return Increment(drift, _SpeciesNoise({"walkers": moved.noise}, drift))


def _deposit(walkers: Particles, grid: GridDensity) -> Float[Array, "..."]:
    """The density of the walkers on the cells, each shared linearly between its neighbours."""
    centres, length = grid.centres(), grid.upper - grid.lower
    periodic = jnp.asarray(grid.periodic)

    def one(x):
        inside = jnp.clip(x, grid.lower + grid.spacing / 2, grid.upper - grid.spacing / 2)
        away = centres - jnp.where(periodic, x, inside)
        away = jnp.where(periodic, away - length * jnp.round(away / length), away)
        share = jnp.prod(jnp.maximum(1 - jnp.abs(away) / grid.spacing, 0), axis=-1)
        return share / (jnp.sum(share) * grid.cell)

    return walkers.mean(one)

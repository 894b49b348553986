r"""Particle swarms in the language of consensus ([grassi2021]).

    dX = V dt,     m dV = −(1 − m) V dt − λ (X − c) dt + σ D(X − c) dW,      c = ⟨x⟩_{−αf}

D is |·| or diag(·). As the inertia m → 0 it is consensus-based optimisation. Itô.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, NonNegative, Point
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import Diagonal, floating
from ...spaces import Euclidean, Phase
from ...spaces._phase import of_kind
from ._effective_sample_size import EffectiveSampleSize
from ._weights import energy_logits, strength, weighted_mean


class SwarmConsensus(AbstractMeanField):
    r"""Consensus-based optimisation with inertia; points are `Phase(q, p)` with p the velocity.

    Around a fixed c and without noise, X is a damped oscillator: m ẍ + (1 − m) ẋ + λ(x − c) = 0.

    **Arguments:**

    - `objective`, `drift_rate`, `sigma`, `alpha`: f, λ, σ and α, as of `ConsensusBased`.
    - `noise`: "isotropic" or "anisotropic".
    - `inertia`: m in (0, 1]; steps should be shorter than m.

    !!! example

        `fm.minimize(f, bounds=box, key=key, method="swarm").x`
    """

    objective: Callable[[Point], FloatScalar]
    drift_rate: NonNegative = 1.0
    sigma: NonNegative = 0.7
    alpha: NonNegative | EffectiveSampleSize = 30.0
    noise: str = eqx.field(static=True, default="isotropic")
    inertia: NonNegative = 0.1

    def __check_init__(self):
        if self.noise not in ("isotropic", "anisotropic"):
            raise ValueError(f'`noise` is {self.noise!r}; it is "isotropic" or "anisotropic".')

    def consensus(self, mu: AbstractMeasure) -> Point:
        """The weighted mean of the positions."""
        energy = lambda y: self.objective(_phase(y).q)  # noqa: E731
        weights = energy_logits(energy, strength(self.alpha, 0.0, mu, energy))
        return weighted_mean(mu, lambda y: floating(_phase(y).q), weights)

    def rates(self, t, x, mu):
        x = _phase(x)
        away = jax.tree.map(jnp.subtract, floating(x.q), self.consensus(mu))
        push = jax.tree.map(
            lambda z, v: -(self.drift_rate * z + (1 - self.inertia) * v) / self.inertia, away, x.p
        )
        still = jax.tree.map(jnp.zeros_like, away)
        if self.noise == "isotropic":
            distance = Euclidean().distance(away, still)
            away = jax.tree.map(lambda z: jnp.broadcast_to(distance, z.shape), away)
        shake = jax.tree.map(lambda z: self.sigma / self.inertia * z, away)
        return Rates(Phase(x.p, push), Diagonal(Phase(still, shake)))


def _phase(x: Point) -> Phase:
    return of_kind(x, Phase, "SwarmConsensus")

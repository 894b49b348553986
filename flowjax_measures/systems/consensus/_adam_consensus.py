r"""Consensus with adaptive moments ([chen2022]): Adam, with X − c in the place of a gradient.

    dX = −λ m̂/(√v̂ + ε) dt + σ D(X − c) dW,      c = ⟨x⟩_{−αf}
    dm = (m⁺ − m)/h dt,      m⁺ = β₁ m + (1 − β₁)(X − c),      m̂ = m⁺/(1 − β₁^{1 + t/h})
    dv = (v⁺ − v)/h dt,      v⁺ = β₂ v + (1 − β₂)(X − c)²,     v̂ = v⁺/(1 − β₂^{1 + t/h})

Every coordinate is pulled at about the speed λ, however far it is from the consensus. D is |·| or
diag(·). Itô.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, NonNegative, Point, Positive
from ..._numerics import safe_sqrt
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import Diagonal, floating
from ...spaces import Euclidean
from ...spaces._phase import of_kind
from ._effective_sample_size import EffectiveSampleSize
from ._weights import Schedule, at, energy_logits, strength, weighted_mean


class AdamPoint(NamedTuple):
    """A point with the moments of its pull: where it is, `x`, and the moments m and v, 0 at first.

    !!! example

        `fm.Particles(fm.AdamPoint(mu.x, 0 * mu.x, 0 * mu.x))`
    """

    x: Any
    first: Any
    second: Any


class AdamConsensus(AbstractMeanField):
    r"""Consensus-based optimisation with Adam's moments; points are `AdamPoint(x, first, second)`.

    Euler steps of length h from time 0 are the published algorithm. As the pull has a constant
    speed, points come no nearer to c than about λh: let λ fall in time.

    **Arguments:**

    - `objective`, `sigma`, `alpha`: f, σ and α, as of `ConsensusBased`.
    - `drift_rate`: λ, a length over time, or a function of time.
    - `noise`: "isotropic" or "anisotropic".
    - `first_decay`, `second_decay`: β₁ and β₂ in [0, 1), over the time `step`, h.
    - `epsilon`: ε, a length, below which |X − c| the pull falls to zero.

    !!! example

        `fm.minimize(f, bounds=box, key=key, method="adam").x`
    """

    objective: Callable[[Point], FloatScalar]
    drift_rate: Schedule = 1.0
    sigma: Schedule = 0.7
    alpha: Schedule | EffectiveSampleSize = 30.0
    noise: str = eqx.field(static=True, default="anisotropic")
    first_decay: NonNegative = 0.9
    second_decay: NonNegative = 0.99
    step: Positive = 0.1
    epsilon: Positive = 1e-8

    def __check_init__(self):
        if self.noise not in ("isotropic", "anisotropic"):
            raise ValueError(f'`noise` is {self.noise!r}; it is "isotropic" or "anisotropic".')

    def consensus(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Point:
        """The weighted mean of the places."""
        energy = lambda y: self.objective(_point(y).x)  # noqa: E731
        weights = energy_logits(energy, strength(self.alpha, t, mu, energy))
        return weighted_mean(mu, lambda y: floating(_point(y).x), weights)

    def rates(self, t, x, mu):
        x = _point(x)
        away = jax.tree.map(jnp.subtract, floating(x.x), self.consensus(mu, t))
        mix = lambda decay, old, new: decay * old + (1 - decay) * new  # noqa: E731
        first = jax.tree.map(lambda m, z: mix(self.first_decay, m, z), x.first, away)
        second = jax.tree.map(lambda v, z: mix(self.second_decay, v, z**2), x.second, away)
        # What the moments of constant pulls are at the end of a step that begins at t.
        count = 1 + jnp.asarray(t) / self.step
        one, two = 1 - self.first_decay**count, 1 - self.second_decay**count
        speed = at(self.drift_rate, t)

        def pull(m, v):
            return -speed * (m / one) / (safe_sqrt(v / two) + self.epsilon)

        moved = lambda new, old: (new - old) / self.step  # noqa: E731
        velocity = AdamPoint(
            jax.tree.map(pull, first, second),
            jax.tree.map(moved, first, x.first),
            jax.tree.map(moved, second, x.second),
        )
        still = jax.tree.map(jnp.zeros_like, away)
        if self.noise == "isotropic":
            distance = Euclidean().distance(away, still)
            away = jax.tree.map(lambda z: jnp.broadcast_to(distance, z.shape), away)
        shaken = jax.tree.map(lambda z: at(self.sigma, t) * z, away)
        return Rates(velocity, Diagonal(AdamPoint(shaken, still, still)))


def _point(x: Point) -> AdamPoint:
    return of_kind(x, AdamPoint, "AdamConsensus")

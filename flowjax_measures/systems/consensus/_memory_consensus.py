r"""Consensus with memory: every point remembers the best place it has seen ([grassi2021]).

    dX = −λ (X − c) dt − λ_m (X − Y) dt + σ D(X − c) dW + σ_m D(X − Y) dW′
    dY = ν ½ (1 + θ + tanh(β(f(Y) − f(X)))) (X − Y) dt,        c = ⟨y⟩_{−αf(y)}

Y moves to X while X is the better one. D is |·| or diag(·). Itô.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, NonNegative, Point
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import Diagonal, floating
from ...spaces import Euclidean
from ...spaces._phase import of_kind
from ._effective_sample_size import EffectiveSampleSize
from ._weights import energy_logits, strength, weighted_mean


class Memory(NamedTuple):
    """A point with a memory: where it is, `x`, and the best place that it has seen, `best`.

    !!! example

        ```python
        fm.simulate(
            fm.MemoryConsensus(f),
            fm.Particles(fm.Memory(mu.x, mu.x)),
            [0.0, 1.0],
            dt=0.1,
            key=key,
        )
        ```
    """

    x: Any
    best: Any


class MemoryConsensus(AbstractMeanField):
    r"""Consensus-based optimisation with personal bests; points are `Memory(x, best)`.

    With Euler steps of length 1/ν, θ = 0 and β = ∞, Y is exactly the best of all places before the
    last step. The consensus is that of the memories.

    **Arguments:**

    - `objective`, `drift_rate`, `sigma`, `alpha`: f, λ, σ and α, as of `ConsensusBased`.
    - `noise`: "isotropic" or "anisotropic".
    - `memory_drift`, `memory_sigma`: λ_m and σ_m, towards the own memory.
    - `memory_rate`, `sharpness`, `leak`: ν, β and θ, of the memory's update.

    !!! example

        `fm.minimize(f, bounds=box, key=key, method="memory").x`
    """

    objective: Callable[[Point], FloatScalar]
    drift_rate: NonNegative = 1.0
    sigma: NonNegative = 0.7
    alpha: NonNegative | EffectiveSampleSize = 30.0
    noise: str = eqx.field(static=True, default="isotropic")
    memory_drift: NonNegative = 0.4
    memory_sigma: NonNegative = 0.0
    memory_rate: NonNegative = 100.0
    sharpness: NonNegative = 1e3
    leak: NonNegative = 0.0

    def __check_init__(self):
        if self.noise not in ("isotropic", "anisotropic"):
            raise ValueError(f'`noise` is {self.noise!r}; it is "isotropic" or "anisotropic".')

    def consensus(self, mu: AbstractMeasure) -> Point:
        """The weighted mean of the memories."""
        energy = lambda y: self.objective(_memory(y).best)  # noqa: E731
        weights = energy_logits(energy, strength(self.alpha, 0.0, mu, energy))
        return weighted_mean(mu, lambda y: floating(_memory(y).best), weights)

    def rates(self, t, x, mu):
        x = _memory(x)
        here = floating(x.x)
        shared = jax.tree.map(jnp.subtract, here, self.consensus(mu))
        own = jax.tree.map(jnp.subtract, here, floating(x.best))
        gap = self.objective(x.best) - self.objective(x.x)
        # ∞ · 0: two equal places are a draw for every sharpness.
        score = jnp.where(gap == 0, 0, self.sharpness * jnp.where(gap == 0, 1, gap))
        pull = self.memory_rate * (1 + self.leak + jnp.tanh(score)) / 2
        velocity = jax.tree.map(
            lambda a, b: -self.drift_rate * a - self.memory_drift * b, shared, own
        )
        noise = self._explore(self.sigma, shared) + self._explore(self.memory_sigma, own)
        return Rates(Memory(velocity, jax.tree.map(lambda z: pull * z, own)), noise)

    def _explore(self, sigma, away):
        still = jax.tree.map(jnp.zeros_like, away)
        if self.noise == "isotropic":
            distance = Euclidean().distance(away, still)
            away = jax.tree.map(lambda z: jnp.broadcast_to(distance, z.shape), away)
        return Diagonal(Memory(jax.tree.map(lambda z: sigma * z, away), still))


def _memory(x: Point) -> Memory:
    return of_kind(x, Memory, "MemoryConsensus")

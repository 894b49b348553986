r"""A Pareto front evenly covered: preferences that repel each other's images ([borghi2023]).

    dX = −λ (X − c(w)) dt + σ D(X − c(w)) dW,     c(w) = ⟨x⟩ tilted by −α max_k w_k |g_k(x)|
    dΘ = τ ⟨∇U(g(X) − g(y))⟩_y dt,                 w = softmax Θ,  U(z) = exp(−|z|²/(2ℓ²))

At the minimiser of the Chebyshev scalarisation all w_k|g_k| are equal, so that g_k falls as w_k
grows: preferences move along +∇U in order that images move along −∇U, apart. Itô.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import NonNegative, Point
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import Diagonal, floating
from ...spaces import Euclidean
from ._weights import energy_logits, weighted_mean


class AdaptivePareto(AbstractMeanField):
    r"""Consensus for several objectives with adapted preferences; points are `(x, theta)`.

    Θ is free in R^m and w = softmax Θ on the simplex. With τ = 0 it is `ParetoConsensus` with
    these preferences.

    **Arguments:**

    - `objectives`: function of one place x to the m values g, taken to be at least 0.
    - `drift_rate`, `sigma`, `alpha`: λ, σ and α, as of `ConsensusBased`.
    - `noise`: "isotropic" or "anisotropic", of x alone.
    - `adaptation`: τ ≥ 0, the speed of the preferences.
    - `reach`: ℓ > 0, the distance of images over which they repel.

    !!! example

        ```python
        fm.minimize(
            lambda x: jnp.stack([f(x), f(x - 1)]), bounds=box, key=key, method="pareto"
        ).front
        ```
    """

    objectives: Callable[[Point], Float[Array, " m"]]
    drift_rate: NonNegative = 1.0
    sigma: NonNegative = 0.7
    alpha: NonNegative = 30.0
    noise: str = eqx.field(static=True, default="isotropic")
    adaptation: NonNegative = 1.0
    reach: NonNegative = 0.1

    def __check_init__(self):
        if self.noise not in ("isotropic", "anisotropic"):
            raise ValueError(f'`noise` is {self.noise!r}; it is "isotropic" or "anisotropic".')

    def consensus(self, theta: Float[Array, " m"], mu: AbstractMeasure) -> Point:
        """The consensus of the preferences softmax(theta)."""
        w = jax.nn.softmax(theta)
        worst = lambda y: jnp.max(w * jnp.abs(self.objectives(y[0])))  # noqa: E731
        return weighted_mean(mu, lambda y: floating(y[0]), energy_logits(worst, self.alpha))

    def rates(self, t, x, mu):
        place, theta = x
        away = jax.tree.map(jnp.subtract, floating(place), self.consensus(theta, mu))
        image = self.objectives(place)

        def repulsion(y):
            gap = image - self.objectives(y[0])
            return -gap / self.reach**2 * jnp.exp(-jnp.sum(gap**2) / (2 * self.reach**2))

        pull = jax.tree.map(lambda z: -self.drift_rate * z, away)
        velocity = (pull, self.adaptation * mu.mean(repulsion))
        if self.noise == "isotropic":
            distance = Euclidean().distance(away, jax.tree.map(jnp.zeros_like, away))
            away = jax.tree.map(lambda z: jnp.broadcast_to(distance, z.shape), away)
        shake = jax.tree.map(lambda z: self.sigma * z, away)
        return Rates(velocity, Diagonal((shake, jnp.zeros_like(theta))))

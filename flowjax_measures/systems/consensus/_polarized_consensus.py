r"""Polarised consensus: every point has its own, from those near it ([bungert2022]).

    dX = −λ (X − c(X)) dt + noise(X − c(X)),     c(x) = ⟨y⟩_ℓ,  ℓ(y) = −αf(y) − |x − y|²/(2κ²)

Several minimisers, or modes, keep a cluster each. Itô.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point, Positive, Scalar
from ..._numerics import safe_sqrt
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Gaussian, Particles, Rates
from ...noise._noise import floating
from ._effective_sample_size import EffectiveSampleSize
from ._exploration import check_exploration, exploration
from ._weights import Schedule, at, energy_logits, normalised, strength, weighted_mean


class PolarizedConsensus(AbstractMeanField):
    r"""Consensus-based optimisation with a kernel between points.

    As κ → ∞ it is `ConsensusBased`. With `noise="covariance"`, λ = 1 and σ = √(2(1 + α)) it is
    polarised consensus-based sampling of e^{−f}.

    **Arguments:**

    - `objective`, `drift_rate`, `sigma`, `alpha`, `noise`, `truncation`: as of `ConsensusBased`.
    - `kernel_width`: κ of the Gaussian kernel. `relative_width`: whether κ is a fraction of the
      largest distance between two points (the kernel named Taz), so that it shrinks with the cloud.
    - `log_kernel`: function log k(x, y) of two points, in place of the Gaussian kernel.
    - `local_alpha`: whether `EffectiveSampleSize` is that of what a point sees through the kernel,
      an α for each point: clusters of other energies then are as sharp as the best one.

    !!! example

        `fm.minimize(f, bounds=box, key=key, method="polarized").minima`
    """

    objective: Callable[[Point], FloatScalar]
    drift_rate: Schedule = 1.0
    sigma: Schedule = 0.7
    alpha: Schedule | EffectiveSampleSize = 30.0
    noise: str = eqx.field(static=True, default="isotropic")
    kernel_width: Positive = 1.0
    log_kernel: Callable[[Point, Point], FloatScalar] | None = None
    truncation: Scalar | None = None
    local_alpha: bool = eqx.field(static=True, default=False)
    relative_width: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_exploration(self.noise, self.truncation)

    def width(self, mu: AbstractMeasure) -> FloatScalar:
        """The width of the kernel among the points of `mu`."""
        if not self.relative_width:
            return jnp.asarray(self.kernel_width)
        if isinstance(mu, Gaussian):
            raise ValueError("`relative_width` of a Gaussian: its points are at all distances.")
        points, log_w = mu.atoms()
        rows = jax.vmap(lambda y: ravel_pytree(floating(y))[0])(points)
        # A point of mass zero is taken for the first one that has some.
        rows = jnp.where(jnp.isneginf(log_w)[:, None], rows[jnp.argmax(log_w)], rows)
        farthest = jax.lax.map(lambda a: jnp.max(jnp.sum((a - rows) ** 2, 1)), rows, batch_size=64)
        return self.kernel_width * safe_sqrt(jnp.max(farthest))

    def _logits(self, x, mu, t):
        here, width = floating(x), self.width(mu)

        def near(y):
            if self.log_kernel is not None:
                return self.log_kernel(x, y)
            squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), here, floating(y))
            return -jax.tree.reduce(jnp.add, squares) / (2 * width**2)

        seen = mu
        if self.local_alpha:
            points, log_w = mu.atoms()
            seen = Particles(points, log_w + jax.vmap(near)(points))
        weights = energy_logits(self.objective, strength(self.alpha, t, seen, self.objective))
        return lambda y: weights(y) + near(y)

    def consensus(self, x: Point, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Point:
        """The consensus c(x) that the point `x` sees."""
        return weighted_mean(mu, floating, self._logits(x, mu, t))

    def weights(self, x: Point, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Float[Array, " n"]:
        """The normalised weights that the point `x` gives to the atoms of `mu`."""
        return normalised(mu, self._logits(x, mu, t))

    def rates(self, t, x, mu):
        centre = self.consensus(x, mu, t)
        away = jax.tree.map(jnp.subtract, floating(x), centre)

        def spread():
            def outer(y):
                z = ravel_pytree(jax.tree.map(jnp.subtract, floating(y), centre))[0]
                return jnp.outer(z, z)

            return weighted_mean(mu, outer, self._logits(x, mu, t))

        noise = exploration(self.noise, at(self.sigma, t), away, spread, self.truncation)
        pull = at(self.drift_rate, t)
        return Rates(jax.tree.map(lambda z: -pull * z, away), noise)

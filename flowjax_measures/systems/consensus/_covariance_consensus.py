r"""Consensus that learns a basin's shape, from the covariance of its better points ([hansen2001]).

    dX = −λ (X − c) dt + σ √C dW,      c = ⟨x⟩_{−αf},   C = ⟨(x − m)(x − m)ᵀ⟩_{−αf},   m = ∫ x dμ

C is about the mean of all points, not of the better ones: it holds the way from m to c, so that
points on a slope spread along it, and narrow in a basin alone. Itô.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point
from ..._numerics import square_root
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import Dense, floating
from ._effective_sample_size import EffectiveSampleSize
from ._weights import Schedule, at, energy_logits, normalised, strength, weighted_mean


class CovarianceConsensus(AbstractMeanField):
    r"""Consensus-based optimisation with adaptive covariance, the same in all affine coordinates.

    Where all energies are equal Euler steps h of N points multiply the covariance by
    (1 − λh)² + σ²h(1 − 1/N): keep it near 1, a little above on functions with one basin. With λh
    = 1 all points are new at every step, as in evolution strategies, whose rank-μ update with rate
    1 − (1 − λh)² this is, without a path of evolution.

    **Arguments:**

    - `objective`, `drift_rate`, `sigma`, `alpha`: f, λ, σ and α, as of `ConsensusBased`. The
      effective sample size should be some times the dimension.

    !!! example

        `fm.minimize(f, bounds=box, key=key, method="covariance").x`
    """

    objective: Callable[[Point], FloatScalar]
    drift_rate: Schedule = 1.0
    sigma: Schedule = 1.4
    alpha: Schedule | EffectiveSampleSize = EffectiveSampleSize(0.3)

    def consensus(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Point:
        """The consensus point c(μ), of the float leaves of a point."""
        return weighted_mean(mu, floating, self._logits(mu, t))

    def weights(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Float[Array, " n"]:
        """The normalised weights e^{−αf} dμ of the atoms of `mu`."""
        return normalised(mu, self._logits(mu, t))

    def spread(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Float[Array, "d d"]:
        """The covariance C(μ) about the mean of μ, of the ravelled float leaves of a point."""
        middle = ravel_pytree(mu.mean(floating))[0]

        def outer(y):
            away = ravel_pytree(floating(y))[0] - middle
            return jnp.outer(away, away)

        return weighted_mean(mu, outer, self._logits(mu, t))

    def rates(self, t, x, mu):
        pull = at(self.drift_rate, t)
        away = jax.tree.map(jnp.subtract, floating(x), self.consensus(mu, t))
        noise = Dense(at(self.sigma, t) * square_root(self.spread(mu, t)))
        return Rates(jax.tree.map(lambda z: -pull * z, away), noise)

    def _logits(self, mu, t):
        return energy_logits(self.objective, strength(self.alpha, t, mu, self.objective))

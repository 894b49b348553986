r"""Wasserstein metrics with a preconditioner.

    ∂_t μ = ∇·(μ C ∇δF/δμ): velocity C u, and noise √(2D) C^{1/2} where the energy diffuses.

With C the covariance of μ itself the metric is that of Kalman–Wasserstein
([garbuno2020]): its flow doesn't see linear changes of coordinates.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._matrix import square_root
from .._noise import Dense
from ..measures import Rates
from ..spaces._euclidean import safe_sqrt
from ._base import AbstractMetric


class Preconditioned(AbstractMetric):
    """The Wasserstein metric in the coordinates C^{-1/2} x; `matrix` is C, symmetric positive."""

    matrix: Float[Array, "d d"]

    def rates(self, energy, x, mu):
        return _rates(self.matrix, energy, x, mu)


class KalmanWasserstein(AbstractMetric):
    """The Wasserstein metric preconditioned by the covariance of the measure."""

    def rates(self, energy, x, mu):
        return _rates(mu.covariance(), energy, x, mu)


def _rates(matrix, energy, x, mu) -> Rates:
    diffusivity = energy.diffusivity(x, mu)
    noise = None
    if diffusivity is not None:
        scale = jnp.asarray(safe_sqrt(2 * diffusivity), matrix.dtype)
        noise = Dense(scale * square_root(matrix))
    return Rates(jnp.asarray(matrix) @ energy.velocity(x, mu), noise)

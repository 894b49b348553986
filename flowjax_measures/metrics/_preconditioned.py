r"""Wasserstein metrics with a preconditioner.

    ∂_t μ = ∇·(μ C ∇δF/δμ): velocity C u, and noise √(2D) C^{1/2} where the energy diffuses.

With C the covariance of μ itself the metric is that of Kalman–Wasserstein
([garbuno2020]): its flow doesn't see linear changes of coordinates. A convex function h in place of
the square |·|²/2 bends the velocity: ∇h*(u) ([bonet2024]).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Velocity
from .._numerics import noise_size
from .._numerics._matrix import square_root
from ..measures import Rates
from ..measures._base import concrete
from ..noise._noise import Dense
from ._base import AbstractMetric


class Preconditioned(AbstractMetric):
    """The Wasserstein metric in the coordinates C^{-1/2} x; `matrix` is C, symmetric positive.

    !!! example

        `fm.GradientFlow(fm.PotentialEnergy(f), fm.Preconditioned(jnp.diag(jnp.array([1.0, 0.1]))))`
    """

    matrix: Float[Array, "d d"]

    def __check_init__(self):
        shape = jnp.shape(self.matrix)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"`matrix` has shape {shape}; give a square one, (d, d).")
        if concrete(self.matrix):
            matrix = np.asarray(self.matrix)
            slack = 1e-5 * np.abs(matrix).max()
            if np.abs(matrix - matrix.T).max() > slack or np.linalg.eigvalsh(matrix)[0] < -slack:
                raise ValueError("`matrix` is not symmetric and positive semidefinite.")

    def rates(self, energy, x, mu):
        return _rates(self.matrix, energy, x, mu)


class KalmanWasserstein(AbstractMetric):
    """The Wasserstein metric preconditioned by the covariance of the measure.

    !!! example

        `fm.GradientFlow(fm.PotentialEnergy(f), fm.KalmanWasserstein())`
    """

    def rates(self, energy, x, mu):
        return _rates(mu.covariance(), energy, x, mu)


class DualPreconditioned(AbstractMetric):
    """The transport cost h(x − y): points move by ∇h*(−∇δF/δμ), for energies that don't diffuse.

    With h = |·|^p/p it is the gradient flow of the distance W_p.

    **Arguments:** `conjugate`: h*, convex with its minimum at 0.

    !!! example

        `fm.GradientFlow(fm.KL(f), fm.DualPreconditioned(lambda p: jnp.sum(jnp.cosh(p))))`
    """

    conjugate: Callable[[Velocity], FloatScalar]

    def rates(self, energy, x, mu):
        if energy.diffusivity(x, mu) is not None:
            raise ValueError(
                f"DualPreconditioned was given {type(energy).__name__}, which diffuses; noise is "
                "quadratic. Give an energy that only transports, such as KernelEntropy."
            )
        return Rates(jax.grad(self.conjugate)(energy.velocity(x, mu)))


def _rates(matrix, energy, x, mu) -> Rates:
    diffusivity = energy.diffusivity(x, mu)
    noise = None
    if diffusivity is not None:
        scale = jnp.asarray(noise_size(2 * diffusivity), matrix.dtype)
        noise = Dense(scale * square_root(matrix))
    return Rates(jnp.asarray(matrix) @ energy.velocity(x, mu), noise)

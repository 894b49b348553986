"""Kernels of the distance of two points."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._custom_types import FloatScalar, PositiveArray
from .._numerics import safe_power, safe_sqrt
from .._reduce import mean_distance
from ..measures import Particles
from ._base import AbstractExponentialKernel, AbstractKernel, AbstractSummedKernel


class GaussianKernel(AbstractExponentialKernel):
    """k(x, y) = e^{−‖x − y‖²/(2h²)}; `bandwidth` is h."""

    bandwidth: PositiveArray = 1.0

    def log(self, x, y):
        return -jnp.sum((x - y) ** 2) / (2 * self.bandwidth**2)

    def log_density(self, x, y) -> FloatScalar:
        """log k less the logarithm of its integral over x: a density."""
        volume = x.size * (jnp.log(self.bandwidth) + math.log(2 * math.pi) / 2)
        return self.log(x, y) - volume


class LaplaceKernel(AbstractKernel):
    """k(x, y) = e^{−‖x − y‖/h}; `bandwidth` is h. Its gradient at x = y is set to 0."""

    bandwidth: PositiveArray = 1.0

    def __call__(self, x, y):
        return jnp.exp(-_distance(x, y) / self.bandwidth)


class RieszKernel(AbstractKernel):
    """k(x, y) = −‖x − y‖^r for 0 < r < 2; `exponent` is r. Its gradient at x = y is set to 0."""

    exponent: ArrayLike = 1.0

    def __call__(self, x, y):
        return -safe_power(jnp.sum((x - y) ** 2), self.exponent / 2)


class EnergyDistance(AbstractSummedKernel):
    """k(x, y) = −‖x − y‖, the kernel whose MMD² is the energy distance.

    Over n particles on the line its sums are taken by sorting, in O(n log n).
    """

    def __call__(self, x, y):
        return -_distance(x, y)

    def convolve(self, x, mu):
        spread = not isinstance(mu, Particles) or mu.sharding is not None
        if spread or not eqx.is_array(mu.x) or mu.x.shape[1:] != (1,):
            return mu.mean(lambda y: self(x, y))
        return -mean_distance(x[0], mu.x[:, 0], jax.nn.softmax(mu.log_weights()))


class InverseMultiquadric(AbstractKernel):
    """k(x, y) = (1 + ‖x − y‖²/h²)^{−p}; `bandwidth` is h, `power` is p, ½ by default."""

    bandwidth: PositiveArray = 1.0
    power: ArrayLike = 0.5

    def __call__(self, x, y):
        return (1 + jnp.sum((x - y) ** 2) / self.bandwidth**2) ** -jnp.asarray(self.power)


class LinearKernel(AbstractKernel):
    """k(x, y) = ⟨x, y⟩ + c; `offset` is c."""

    offset: ArrayLike = 1.0

    def __call__(self, x, y):
        return jnp.vdot(x, y) + self.offset


def _distance(x, y) -> FloatScalar:
    return safe_sqrt(jnp.sum((x - y) ** 2))

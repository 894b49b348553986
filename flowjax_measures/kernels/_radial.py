"""Kernels of the distance of two points."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from .._custom_types import FloatScalar, PositiveArray
from .._numerics import safe_power
from .._reduce import mean_distance
from ..measures import Particles
from ..measures._base import concrete
from ..spaces import AbstractSpace, Euclidean, Sphere
from ..spaces._base import squared_distance
from ..spaces._product import is_flat
from ._base import (
    AbstractExponentialKernel,
    AbstractKernel,
    AbstractSmoothedKernel,
    AbstractSummedKernel,
    ExponentialKernelProduct,
    KernelProduct,
    KernelSum,
    ScaledKernel,
    difference,
    flat,
)
from ._matern import Matern
from ._smoothed import (
    mean_exponential,
    mean_inverse_power,
    mean_multiquadric,
    mean_norm,
    mean_norm_power,
)


class GaussianKernel(AbstractExponentialKernel):
    """k(x, y) = e^{−‖x − y‖²/(2h²)}; `bandwidth` is h.

    !!! example

        `fm.GaussianKernel(0.5)(jnp.zeros(2), jnp.ones(2))`
    """

    bandwidth: PositiveArray = 1.0

    def log(self, x, y):
        return -jnp.sum(difference(x, y) ** 2) / (2 * self.bandwidth**2)

    def log_density(self, x, y) -> FloatScalar:
        """log k less the logarithm of its integral over x: a density."""
        volume = flat(x).size * (jnp.log(self.bandwidth) + math.log(2 * math.pi) / 2)
        return self.log(x, y) - volume


class CountingKernel(AbstractExponentialKernel):
    """1 where x = y, else 0: the masses themselves as a density, of laws on a finite set.

    !!! example

        `fm.GradientFlow(fm.KL(V, fm.CountingKernel()), fm.FisherRao())` from particles with
        weights: policies, bandits.
    """

    def log(self, x, y):
        # Not −∞: what has no mass must not enter means as 0 · ∞.
        z = difference(x, y)
        return jnp.where(jnp.all(z == 0), 0, jnp.log(jnp.finfo(z.dtype).tiny)).astype(z.dtype)

    def log_density(self, x, y) -> FloatScalar:
        """log k: a density with respect to counting."""
        return self.log(x, y)


DensityKernel = GaussianKernel | CountingKernel
"""What estimates a density from particles."""


class LaplaceKernel(AbstractSmoothedKernel):
    """k(x, y) = e^{−d(x, y)/h}; `bandwidth` is h. Its gradient at x = y is set to 0.

    `space` measures the distance d; `mmd` takes that of its measures.

    !!! example

        `fm.LaplaceKernel(0.5)(jnp.zeros(2), jnp.ones(2))`
    """

    bandwidth: PositiveArray = 1.0
    space: AbstractSpace = Euclidean()

    def __call__(self, x, y):
        return jnp.exp(-self.space.distance(x, y) / self.bandwidth)

    def smoothed(self, z, cov):
        return mean_exponential(z, cov, self.bandwidth)


class RieszKernel(AbstractSmoothedKernel):
    """k(x, y) = −d(x, y)^r for 0 < r < 2, and the singular d(x, y)^r for −dim < r < 0.

    `exponent` is r. Its gradient at x = y is set to 0, and where it is infinite there its value
    too: atoms do not see themselves, and energies of atoms leave the diagonal out. `space` measures
    the distance d; `mmd` takes that of its measures.

    **Raises:** `ValueError` for exponents that are 0, 2 or more, or beneath −dim.

    !!! example

        `fm.mmd(mu, nu, fm.RieszKernel(1.5))`; `fm.Stein(fm.RieszKernel(-1.0))` in three dimensions
        moves atoms by Coulomb's kernel
    """

    exponent: ArrayLike = 1.0
    space: AbstractSpace = Euclidean()

    def __check_init__(self):
        r = self.exponent
        if concrete(r) and not (np.all(np.asarray(r) < 2) and np.all(np.asarray(r) != 0)):
            raise ValueError(f"`exponent` is {r}; give a number below 2 that is not 0.")

    def __call__(self, x, y):
        self._check(flat(x).size)
        square = jnp.asarray(squared_distance(self.space, x, y))
        r = jnp.asarray(self.exponent, square.dtype)
        return -jnp.sign(r) * safe_power(square, r / 2)

    def smoothed(self, z, cov):
        self._check(z.size)
        if concrete(self.exponent):
            singular = bool(np.all(np.asarray(self.exponent) < 0))
            if singular:
                return mean_inverse_power(z, cov, -jnp.asarray(self.exponent))
            return -mean_norm_power(z, cov, self.exponent)
        r = jnp.asarray(self.exponent, z.dtype)
        return jnp.where(
            r < 0,
            mean_inverse_power(z, cov, jnp.where(r < 0, -r, 0.5)),
            -mean_norm_power(z, cov, jnp.where(r < 0, 0.5, r)),
        )

    def _check(self, dimension: int) -> None:
        if concrete(self.exponent) and np.any(np.asarray(self.exponent) <= -dimension):
            raise ValueError(
                f"`exponent` is {self.exponent}, which no law of {dimension} dimensions can sum; "
                f"give one above {-dimension}."
            )


class EnergyDistance(AbstractSmoothedKernel, AbstractSummedKernel):
    """k(x, y) = −d(x, y), the kernel whose MMD² is the energy distance.

    Over n particles on the line its sums are taken by sorting, in O(n log n). `space` measures the
    distance d, ‖x − y‖ by default; `mmd` and `energy_distance` take that of their measures.

    !!! example

        `fm.mmd(mu, nu, fm.EnergyDistance())`
    """

    space: AbstractSpace = Euclidean()

    def __call__(self, x, y):
        return -self.space.distance(x, y)

    def convolve(self, x, mu):
        spread = not isinstance(mu, Particles) or mu.sharding is not None
        flat_line = not spread and isinstance(self.space, Euclidean)
        if not (flat_line and eqx.is_array(mu.x) and mu.x.shape[1:] == jnp.shape(x) == (1,)):
            return mu.mean(lambda y: self(x, y))
        return -mean_distance(x[0], mu.x[:, 0], jax.nn.softmax(mu.log_weights()))

    def smoothed(self, z, cov):
        return -mean_norm(z, cov)


class InverseMultiquadric(AbstractSmoothedKernel):
    """k(x, y) = (1 + ‖x − y‖²/h²)^{−p}; `bandwidth` is h, `power` is p, ½ by default.

    !!! example

        `fm.InverseMultiquadric(0.5)(jnp.zeros(2), jnp.ones(2))`
    """

    bandwidth: PositiveArray = 1.0
    power: PositiveArray = 0.5

    def __call__(self, x, y):
        return (1 + jnp.sum(difference(x, y) ** 2) / self.bandwidth**2) ** -jnp.asarray(self.power)

    def smoothed(self, z, cov):
        return mean_multiquadric(z, cov, self.bandwidth, self.power)


class LinearKernel(AbstractKernel):
    """k(x, y) = ⟨x, y⟩ + c; `offset` is c.

    !!! example

        `fm.mmd(mu, nu, fm.LinearKernel())`
    """

    offset: ArrayLike = 1.0

    def __call__(self, x, y):
        return jnp.vdot(flat(x), flat(y)) + self.offset


def on_space(kernel: Any, space: AbstractSpace) -> Any:
    """The kernel with the distance of a space; refused where it would ignore the space."""
    if is_flat(space):
        return kernel
    if isinstance(kernel, EnergyDistance | RieszKernel | LaplaceKernel):
        return dataclasses.replace(kernel, space=space)
    if isinstance(kernel, KernelSum | KernelProduct | ExponentialKernelProduct):
        parts = (on_space(part, space) for part in (kernel.first, kernel.second))
        return type(kernel)(*parts)
    if isinstance(kernel, ScaledKernel):
        return ScaledKernel(on_space(kernel.kernel, space), kernel.factor)
    # In the space around a sphere any kernel is one on the sphere.
    vectors = GaussianKernel | InverseMultiquadric | LinearKernel | Matern
    if isinstance(kernel, vectors) and not isinstance(space, Sphere):
        raise ValueError(
            f"`kernel` is {type(kernel).__name__}, which knows vectors only, and the points live "
            f"on {space}; take EnergyDistance(), LaplaceKernel(), `fourier_kernel` on a torus, or "
            "a function of two points."
        )
    return kernel

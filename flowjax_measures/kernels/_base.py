r"""Kernels of two points, and their integrals against measures of mass one.

(k∗μ)(x) = ∫ k(x, y) μ(dy) / ∫ dμ
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import Checked
from ..measures import Gaussian, Particles
from ..noise._noise import floating

# Dimensions in which gradients are summed one coordinate after the other.
_FEW = 4

Kernel = Callable[[Point, Point], FloatScalar]
"""Any symmetric function of two points."""


class AbstractKernel(Checked):
    """A symmetric function of two points; kernels add and multiply, and scale with numbers."""

    @abc.abstractmethod
    def __call__(self, x: Point, y: Point) -> FloatScalar:
        """k(x, y)."""

    def __add__(self, other: Kernel) -> "AbstractKernel":
        return KernelSum(self, other) if callable(other) else NotImplemented

    def __mul__(self, other: Kernel | FloatScalar) -> "AbstractKernel":
        if not callable(other):
            return ScaledKernel(self, other)
        first, second = self, other
        kinds = AbstractExponentialKernel
        if isinstance(first, kinds) and isinstance(second, kinds):
            return ExponentialKernelProduct(first, second)
        return KernelProduct(first, second)

    __rmul__ = __mul__


class AbstractExponentialKernel(AbstractKernel):
    """A kernel e^{ℓ(x, y)}, integrated as a tilt: exact from a `Gaussian` for a quadratic ℓ."""

    @abc.abstractmethod
    def log(self, x: Point, y: Point) -> FloatScalar:
        """ℓ(x, y)."""

    def __call__(self, x, y):
        return jnp.exp(self.log(x, y))


class AbstractSummedKernel(AbstractKernel):
    """A kernel with a way of its own to be integrated."""

    @abc.abstractmethod
    def convolve(self, x: Point, mu: Any) -> FloatScalar:
        """(k∗μ)(x)."""


class AbstractSmoothedKernel(AbstractKernel):
    """A kernel of x − y whose mean over a Gaussian is known, where a cubature would be rough."""

    @abc.abstractmethod
    def smoothed(self, z: Float[Array, " d"], cov: Float[Array, "d d"]) -> FloatScalar:
        """E k(Z, 0) for Z ~ N(z, cov)."""


class AbstractSeparableKernel(AbstractSummedKernel):
    """k(x, y) = Σ_m c_m φ_m(x) φ_m(y): its integrals are one mean of features for all x."""

    @abc.abstractmethod
    def features(self, x: Point) -> Float[Array, " k"]:
        """φ(x)."""

    @abc.abstractmethod
    def signs(self) -> Float[Array, " k"]:
        """c, of any sign."""

    def __call__(self, x, y):
        return jnp.vdot(self.signs() * self.features(x), self.features(y))

    def convolve(self, x, mu):
        return jnp.vdot(self.signs() * self.features(x), mu.mean(self.features))


class KernelSum(AbstractSummedKernel):
    """k + l, each integrated in its own way."""

    first: Kernel
    second: Kernel

    def __call__(self, x, y):
        return self.first(x, y) + self.second(x, y)

    def convolve(self, x, mu):
        return convolve(self.first, x, mu) + convolve(self.second, x, mu)


class ScaledKernel(AbstractSummedKernel):
    """c k."""

    kernel: Kernel
    factor: FloatScalar

    def __call__(self, x, y):
        return self.factor * self.kernel(x, y)

    def convolve(self, x, mu):
        return self.factor * convolve(self.kernel, x, mu)


class KernelProduct(AbstractKernel):
    """k l, positive definite where both are."""

    first: Kernel
    second: Kernel

    def __call__(self, x, y):
        return self.first(x, y) * self.second(x, y)


class ExponentialKernelProduct(AbstractExponentialKernel):
    """The product of two kernels that are exponentials, which is one."""

    first: AbstractExponentialKernel
    second: AbstractExponentialKernel

    def log(self, x, y):
        return self.first.log(x, y) + self.second.log(x, y)


def flat(x: Point) -> Float[Array, " d"]:
    """The float leaves of a point as one vector."""
    return x if isinstance(x, jax.Array) else ravel_pytree(floating(x))[0]


def difference(x: Point, y: Point) -> Float[Array, "..."]:
    """x − y, of points that are trees as one vector.

    **Raises:** `ValueError` for points that are not of one space.
    """
    shapes = [jax.tree.map(jnp.shape, floating(z)) for z in (x, y)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"A kernel was given points of shapes {shapes[0]} and {shapes[1]}; give `x` and `y`, "
            "and measures, that have points of one dimension."
        )
    if isinstance(x, jax.Array | float) and isinstance(y, jax.Array | float):
        return jnp.asarray(x - y)
    return flat(x) - flat(y)


def constant(x: Point, value: float) -> FloatScalar:
    """A number in the dtype of a point."""
    return jnp.asarray(value, jnp.result_type(*jax.tree.leaves(floating(x))))


def log_mass(mu: Any) -> FloatScalar:
    """log ∫ dμ."""
    return mu.logmean(lambda y: constant(y, 0.0))


def mass(mu: Any) -> FloatScalar:
    """∫ dμ."""
    if isinstance(mu, Gaussian) or (isinstance(mu, Particles) and mu.log_w is None):
        return 1.0
    return jnp.exp(log_mass(mu))


def log_convolve(kernel: AbstractExponentialKernel, x: Point, mu: Any) -> FloatScalar:
    """log (k∗μ)(x)."""
    return mu.logmean(lambda y: kernel.log(x, y)) - log_mass(mu)


def convolve(kernel: Kernel, x: Point, mu: Any) -> FloatScalar:
    """(k∗μ)(x)."""
    if isinstance(kernel, AbstractSmoothedKernel) and isinstance(mu, Gaussian):
        return kernel.smoothed(x - mu.m, mu.cov)
    if isinstance(kernel, AbstractExponentialKernel):
        return jnp.exp(log_convolve(kernel, x, mu))
    if isinstance(kernel, AbstractSummedKernel):
        return kernel.convolve(x, mu)
    return mu.mean(lambda y: kernel(x, y))


def slope(kernel: Kernel, x: Point, mu: Any) -> Velocity:
    """∇(k∗μ)(x).

    In few dimensions the mean of gradients over atoms is a third of the work of the gradient of
    the mean; in many the latter's sums are products of matrices.
    """
    if isinstance(kernel, KernelSum):
        first, second = (slope(part, x, mu) for part in (kernel.first, kernel.second))
        return jax.tree.map(jnp.add, first, second)
    if isinstance(kernel, ScaledKernel):
        return jax.tree.map(lambda v: kernel.factor * v, slope(kernel.kernel, x, mu))
    vector = eqx.is_inexact_array(x) and jnp.ndim(x) == 1 and jnp.size(x) <= _FEW
    own = isinstance(kernel, AbstractSummedKernel)
    if vector and isinstance(mu, Particles) and not own:
        return mu.mean(lambda y: jax.grad(kernel)(x, y))
    return eqx.filter_grad(lambda z: convolve(kernel, z, mu))(x)


def correlate(kernel: Kernel, mu: Any, nu: Any) -> FloatScalar:
    """∬ k dμ dν / (∫ dμ ∫ dν)."""
    if isinstance(kernel, KernelSum):
        return correlate(kernel.first, mu, nu) + correlate(kernel.second, mu, nu)
    if isinstance(kernel, ScaledKernel):
        return kernel.factor * correlate(kernel.kernel, mu, nu)
    if isinstance(kernel, AbstractSmoothedKernel) and isinstance(mu, Gaussian):
        if isinstance(nu, Gaussian):
            return kernel.smoothed(mu.m - nu.m, mu.cov + nu.cov)
        mu, nu = nu, mu
    if isinstance(kernel, AbstractExponentialKernel):
        inner = lambda x: log_convolve(kernel, x, nu)  # noqa: E731
        return jnp.exp(mu.logmean(inner) - log_mass(mu))
    return mu.mean(lambda x: convolve(kernel, x, nu))

r"""Kernel distances of a measure to a target.

    MMD                        ½ ∬ k d(μ−ν) d(μ−ν)
    KernelSteinDiscrepancy     ½ ∬ u_V dμ dμ

with Stein's kernel u_V = ⟨s, s′⟩ k + ⟨s, ∇_y k⟩ + ⟨s′, ∇_x k⟩ + tr ∇_x∇_y k, where s = −∇V(x) and
s′ = −∇V(y) ([gretton2012], [liu2016ksd]). Both are halves of squares, zero at the target.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Point
from .._numerics import jitted
from ..kernels import AbstractKernel, EnergyDistance, InverseMultiquadric
from ..kernels._base import Kernel, convolve, correlate, mass, slope
from ..kernels._radial import on_space
from ..measures import AbstractMeasure
from ._base import AbstractEnergy, AbstractTransportEnergy
from ._ground import on_measure, shared_space


class MMD(AbstractEnergy):
    r"""½ MMD²(μ, ν) = ½ ∬ k d(μ−ν) d(μ−ν); δF/δμ = k∗(μ − ν).

    All pairs count, a particle with itself included; both measures are divided by their masses
    (so that δF/δμ has the factor 1/∫dμ). A kernel of the distance takes the geodesic one of the
    measures' space.

    **Arguments:** `target`: ν. `kernel`: k, symmetric; `EnergyDistance()` by default.

    !!! example

        `fm.simulate(fm.GradientFlow(fm.MMD(nu, fm.GaussianKernel(1.0))), mu, [0.0, 0.1], dt=0.01)`
    """

    target: AbstractMeasure
    kernel: Kernel = EnergyDistance()

    @jitted
    def __call__(self, mu):
        nu, kernel = self.target, on_space(self.kernel, shared_space(mu, self.target))
        inner = correlate(kernel, mu, mu) + correlate(kernel, nu, nu)
        return inner / 2 - correlate(kernel, mu, nu)

    def first_variation(self, x, mu):
        kernel = on_space(self.kernel, shared_space(mu, self.target))
        return (convolve(kernel, x, mu) - convolve(kernel, x, self.target)) / mass(mu)

    def velocity(self, x, mu):
        kernel = on_space(self.kernel, shared_space(mu, self.target))
        toward, away = slope(kernel, x, self.target), slope(kernel, x, mu)
        return jax.tree.map(lambda a, b: (a - b) / mass(mu), toward, away)

    def diffusivity(self, x, mu):
        return None


class SteinKernel(AbstractKernel):
    """u_V of a potential V and a smooth kernel k: its integral against e^{−V} is 0.

    !!! example

        `fm.SteinKernel(f)(jnp.zeros(2), jnp.ones(2))`
    """

    potential: Callable[[Point], FloatScalar]
    kernel: Kernel = InverseMultiquadric()

    def __call__(self, x, y):
        k = self.kernel
        score = lambda z: -jax.grad(self.potential)(z)  # noqa: E731
        here, there = score(x), score(y)
        by_y = jax.grad(k, 1)
        trace = jnp.trace(jax.jacfwd(by_y)(x, y))
        slopes = jnp.vdot(here, by_y(x, y)) + jnp.vdot(there, jax.grad(k)(x, y))
        return jnp.vdot(here, there) * k(x, y) + slopes + trace


class KernelSteinDiscrepancy(AbstractTransportEnergy):
    r"""½ KSD²(μ | e^{−V}) = ½ ∬ u_V dμ dμ, with no need of samples or of log Z ([korba2021]).

    **Arguments:** `potential`: V. `kernel`: k, twice differentiable;
    `InverseMultiquadric()` by default.

    !!! example

        `fm.KernelSteinDiscrepancy(f)(mu)`
    """

    potential: Callable[[Point], FloatScalar]
    kernel: Kernel = InverseMultiquadric()

    @jitted
    def __call__(self, mu):
        return correlate(self._on(mu), mu, mu) / 2

    def first_variation(self, x, mu):
        return convolve(self._on(mu), x, mu) / mass(mu)

    def _on(self, mu: AbstractMeasure) -> SteinKernel:
        return SteinKernel(self.potential, on_measure(self.kernel, mu))

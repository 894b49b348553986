r"""f-divergences of a measure to a target of known density.

    F(μ) = ∫ f(r) dπ,   r = ρ/π,   δF/δμ = f′(r),
    ∂_t ρ = ∇·(ρ f″(r) ∇r) = −∇·(D ρ ∇log π) + Δ(D ρ),   D = (f′(r) r − f(r) + f(0))/r ≥ 0

f is convex with f(1) = 0:

    "KL"              r log r                                D = 1
    "chi-squared"     (r − 1)²                               D = r
    "hellinger"       (√r − 1)²                              D = 1/√r
    "jensen-shannon"  ½ r log r − ½ (1 + r) log((1 + r)/2)   D = log(1 + r)/2r
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from .._custom_types import FloatScalar, Point
from ..kernels._base import constant, mass
from ..kernels._radial import DensityKernel
from ._base import AbstractEnergy
from ._density import log_density

GENERATORS = {
    "KL": lambda r: xlogy(r, r),
    "chi-squared": lambda r: (r - 1) ** 2,
    "hellinger": lambda r: (jnp.sqrt(r) - 1) ** 2,
    "jensen-shannon": lambda r: (xlogy(r, r) - (1 + r) * jnp.log((1 + r) / 2)) / 2,
}


class FDivergence(AbstractEnergy):
    """∫ f(ρ/π) dπ, from a `Gaussian`, a grid, or from particles with a kernel.

    Where π is known by samples alone, see `AdversarialDivergence`.

    **Arguments:** `log_target`: log π, normalised, such as `nu.log_density` of a Gaussian ν.
    `generator`: f by its name, or a convex function that is finite at 0. `kernel`: estimates ρ from
    particles.

    !!! example

        `fm.FDivergence(lambda x: -f(x), "chi-squared", fm.GaussianKernel(0.5))(mu)`
    """

    log_target: Callable[[Point], FloatScalar]
    generator: str | Callable[[FloatScalar], FloatScalar] = eqx.field(static=True, default="KL")
    kernel: DensityKernel | None = None

    def __check_init__(self):
        if isinstance(self.generator, str) and self.generator not in GENERATORS:
            raise ValueError(
                f"`generator` is {self.generator!r}; it is one of {', '.join(GENERATORS)}, or a "
                "function."
            )

    def _f(self, r):
        f = self.generator
        return GENERATORS[f](r) if isinstance(f, str) else f(r)

    def _ratio(self, x, mu):
        return jnp.exp(log_density(x, mu, self.kernel) - self.log_target(x))

    def __call__(self, mu):
        def share(x):
            r = self._ratio(x, mu)
            # From where μ has no mass F gets f(0)π, which the mean over μ doesn't see.
            return self._over_ratio(r, lambda r: self._f(r) - self._f(jnp.zeros_like(r)))

        return mass(mu) * mu.mean(share) + self._f(constant(mu.mean(), 0.0))

    def first_variation(self, x, mu):
        return jax.grad(self._f)(self._ratio(x, mu))

    def velocity(self, x, mu):
        return self.diffusivity(x, mu) * jax.grad(self.log_target)(x)

    def diffusivity(self, x, mu):
        def pressure(r):
            return r * jax.grad(self._f)(r) - self._f(r) + self._f(jnp.zeros_like(r))

        return self._over_ratio(self._ratio(x, mu), pressure)

    def _over_ratio(self, r, function):
        some = jnp.where(r > 0, r, 1)
        return jnp.where(r > 0, function(some) / some, 0)

r"""Matérn's kernels, whose smoothness is a number.

    k(r) = 2^{1−ν}/Γ(ν) u^ν K_ν(u),   u = √(2ν) r/h
         = 1/Γ(ν) ∫_0^∞ t^{ν−1} e^{−t} e^{−νr²/(2th²)} dt

In d dimensions the Green's function of (1 − h²Δ/2ν)^{ν + d/2}, of one factor, screened Poisson, for
ν = 1 − d/2. ν = ½ is `LaplaceKernel`, ν → ∞ the `GaussianKernel`.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._custom_types import PositiveArray
from .._numerics import safe_sqrt
from ._base import AbstractSmoothedKernel, difference
from ._smoothed import transform

# The polynomials of k(r) = e^{−u} Σ_j c_j u^j, by 2ν.
_POLYNOMIALS = {1: (1.0,), 3: (1.0, 1.0), 5: (1.0, 1.0, 1 / 3), 7: (1.0, 1.0, 0.4, 1 / 15)}


class Matern(AbstractSmoothedKernel):
    r"""The kernel of Matérn; a function of it is ⌈ν⌉ − 1 times differentiable in mean square.

    A mixture of Gaussian kernels: exact in closed form for ν = ½, 1½, 2½, 3½, otherwise, and over
    Gaussians, by steps in log t with all digits. `KernelSteinDiscrepancy` wants ν > 1.

    **Arguments:** `nu`: ν > 0, a Python number. `bandwidth`: h.

    **Raises:** `ValueError` where `nu` is no positive number, or traced.

    !!! example

        `fm.mmd(mu, nu, fm.Matern(1.5, bandwidth=0.5))`
    """

    nu: float | int = eqx.field(static=True, default=1.5)
    bandwidth: PositiveArray = 1.0

    def __check_init__(self):
        if not isinstance(self.nu, int | float) or not 0 < self.nu < math.inf:
            raise ValueError(f"`nu` is {self.nu!r}; give a Python number > 0, such as 1.5.")

    def __call__(self, x, y):
        z = difference(x, y)
        square = 2 * self.nu * jnp.sum(z**2) / jnp.asarray(self.bandwidth, z.dtype) ** 2
        coefficients = _POLYNOMIALS.get(round(2 * self.nu)) if (2 * self.nu) % 1 == 0 else None
        if coefficients is not None:
            u = safe_sqrt(square)
            return jnp.exp(-u) * jnp.polyval(jnp.asarray(coefficients[::-1], z.dtype), u)
        times, weights = (jnp.asarray(a, z.dtype) for a in self._mixture())
        return jnp.exp(-square / (4 * times)) @ weights

    def smoothed(self, z, cov):
        times, weights = (jnp.asarray(a, z.dtype) for a in self._mixture())
        rate = self.nu / (2 * times * jnp.asarray(self.bandwidth, z.dtype) ** 2)
        return jnp.vdot(transform(z, cov, rate)[0], weights)

    def _mixture(self):
        """Times t and the masses of the gamma law on them."""
        step = 0.25 / max(1.0, math.sqrt(self.nu) / 2)
        top = math.log(self.nu + 12 * math.sqrt(self.nu) + 45)
        v = np.arange(top, -40 / min(self.nu, 1.0) - 5, -step)
        return np.exp(v), step * np.exp(self.nu * v - np.exp(v) - math.lgamma(self.nu))

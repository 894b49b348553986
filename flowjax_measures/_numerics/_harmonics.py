r"""Fields on the sphere S² as sums of spherical harmonics, by quadrature that is exact.

    f(λ, z) = Σ_{m ≥ 0} Re c_m(z) e^{imλ},   c_m(z) = Σ_{l ≥ m} f_{ml} P_l^m(z)

with z the sine of the latitude at the nodes of Gauss and Legendre, λ equidistant, and ∫ P² dz = 1.
Degrees up to two thirds of the nodes are kept, so that products of two are projected exactly.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from .._custom_types import Count
from ._checked import checked


@checked
def sphere_grid(n: Count) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
    """The latitudes, from south to north, and the 2n longitudes of a grid on the sphere.

    !!! example

        ```python
        latitude, longitude = fm.sphere_grid(32)
        field = jnp.sin(latitude)[:, None] + 0 * longitude   # of shape (32, 64)
        ```
    """
    z, _ = np.polynomial.legendre.leggauss(n)
    return jnp.asarray(np.arcsin(z)), jnp.asarray(np.pi * np.arange(2 * n) / n)


@functools.cache
def _legendre(n: int, top: int):
    """P_l^m and (1 − z²) dP_l^m/dz at n nodes for m, l ≤ `top`, the nodes and their weights."""
    z, weights = np.polynomial.legendre.leggauss(n)
    degree, order = np.arange(top + 2), np.arange(top + 1)[:, None]
    root = np.sqrt(np.maximum(degree**2 - order**2, 0) / (4.0 * degree**2 - 1))
    p = np.zeros((top + 1, top + 2, n))
    for m in range(top + 1):
        factor = np.sqrt(0.5) if m == 0 else np.sqrt((2 * m + 1) / (2 * m)) * np.sqrt(1 - z**2)
        p[m, m] = factor * (p[m - 1, m - 1] if m else 1)
        for l in range(m + 1, top + 2):  # noqa: E741
            before = root[m, l - 1] * p[m, l - 2] if l > m + 1 else 0
            p[m, l] = (z * p[m, l - 1] - before) / root[m, l]
    low = (degree + 1)[:-1, None] * root[:, :-1, None] * np.roll(p, 1, 1)[:, :-1]
    slope = low - degree[:-1, None] * root[:, 1:, None] * p[:, 1:]
    return p[:, :-1], slope, z, weights


class Harmonics:
    """The harmonics of real fields of shape (n, m): latitudes of Gauss, equidistant longitudes."""

    def __init__(self, shape: tuple[int, int], dtype: jnp.dtype):
        n, self.around = shape
        self.top = min((2 * n - 1) // 3, (self.around - 1) // 3)
        table = [jnp.asarray(a, dtype) for a in _legendre(n, self.top)]
        self.p, self.slope, self.z, self.weights = table
        self.degree = jnp.arange(self.top + 1, dtype=dtype)

    def forward(self, field: Float[Array, "n m"]) -> Complex[Array, "k l"]:
        """The coefficients f_{ml}."""
        waves = jnp.fft.rfft(field)[:, : self.top + 1] / self.around
        return jnp.einsum("mln,nm->ml", (self.weights * self.p).astype(waves.dtype), waves)

    def back(self, f: Complex[Array, "k l"], table: Array | None = None) -> Float[Array, "n m"]:
        """The field of coefficients; with `slope` for a table, that of (1 − z²) ∂_z."""
        table = self.p if table is None else table
        waves = self.around * jnp.einsum("mln,ml->nm", table.astype(f.dtype), f)
        return jnp.fft.irfft(waves, self.around)

    def turn(self, f: Complex[Array, "k l"]) -> Complex[Array, "k l"]:
        """The coefficients of ∂_λ."""
        m = self.degree[:, None].astype(f.dtype)
        return m * jax.lax.complex(-jnp.imag(f), jnp.real(f))

    def mean(self, field: Float[Array, "n m"]) -> Float[Array, ""]:
        """The mean over the sphere."""
        return self.weights @ jnp.mean(field, 1) / 2

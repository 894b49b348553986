r"""Kernels of few cosines, whose sums over n points cost O(n·k) instead of O(n²).

    k(x, y) = Σ_m c_m cos⟨ω_m, x − y⟩,
    (k∗μ)(x) = Σ_m c_m ( cos⟨ω_m, x⟩ ∫ cos⟨ω_m, y⟩ dμ + sin⟨ω_m, x⟩ ∫ sin⟨ω_m, y⟩ dμ )

A smooth periodic kernel is such a series up to the coefficients that are dropped; a positive
definite one is the mean of such cosines at random frequencies ([rahimi2007]).
"""

import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar, PRNGKey
from .._numerics import checked
from ._base import AbstractSeparableKernel
from ._radial import GaussianKernel


class CosineKernel(AbstractSeparableKernel):
    r"""k(x, y) = Σ_m c_m cos⟨ω_m, x − y⟩.

    **Arguments:**

    - `frequencies`: ω, shape (k, d).
    - `weights`: c, shape (k,).
    - `error`: how far this is from the kernel that it stands for: a bound for `fourier_kernel`,
      the largest standard error at one pair for `random_fourier_kernel`.

    !!! example

        `fm.random_fourier_kernel(key, fm.GaussianKernel(1.0), 64, 2)`
    """

    frequencies: Float[Array, "k d"]
    weights: Float[Array, " k"]
    error: FloatScalar = 0.0

    def features(self, x):
        angle = self.frequencies @ x
        return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)])

    def signs(self):
        return jnp.concatenate([self.weights, self.weights])


@checked
def fourier_kernel(
    profile: Callable[[Float[Array, " d"]], FloatScalar],
    period: float,
    modes: Count,
    dimension: Count = 1,
) -> CosineKernel:
    r"""The Fourier series of an even periodic kernel k(x, y) = profile(x − y) on a torus.

    Keeps |m| ≤ `modes` in every coordinate; `error` is the sum of the magnitudes of those
    coefficients of the fourfold grid that are dropped, a bound of the difference up to aliasing.

    **Arguments:** `profile`: an even function of the difference, of this `period` in each of
    `dimension` coordinates.

    !!! example

        `fm.fourier_kernel(lambda k: jnp.exp(-k @ k), 1.0, 5)`
    """
    size = 8 * (modes + 1)
    line = np.arange(size) * period / size
    grid = np.stack(np.meshgrid(*[line] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    dtype = jnp.result_type(float)
    values = jax.vmap(profile)(jnp.asarray(grid, dtype))
    values = np.asarray(values, np.float64).reshape((size,) * dimension)
    series = np.fft.fftn(values).real / size**dimension
    kept = list(itertools.product(range(-modes, modes + 1), repeat=dimension))
    weights = np.array([series[m] for m in kept])
    error = np.abs(series).sum() - np.abs(weights).sum()
    # cos is even: one of m and −m stands for both.
    half = [i for i, m in enumerate(kept) if m >= tuple(-j for j in m)]
    double = np.array([1.0 if not any(kept[i]) else 2.0 for i in half])
    frequencies = 2 * np.pi / period * np.array([kept[i] for i in half], float)
    return CosineKernel(
        jnp.asarray(frequencies, dtype), jnp.asarray(double * weights[half], dtype), float(error)
    )


@checked
def random_fourier_kernel(
    key: PRNGKey, kernel: GaussianKernel, count: Count, dimension: Count
) -> CosineKernel:
    r"""`count` random cosines whose mean is the Gaussian kernel: unbiased at every pair.

    The variance at one pair is (1 + k(2(x − y)) − 2 k(x − y)²)/(2·count), so that `error` is
    1/√(2·count).

    !!! example

        `fm.mmd(mu, nu, fm.random_fourier_kernel(key, fm.GaussianKernel(1.0), 64, 2))`
    """
    bandwidth = jnp.asarray(kernel.bandwidth, jnp.result_type(float))
    frequencies = jax.random.normal(key, (count, dimension), bandwidth.dtype) / bandwidth
    weights = jnp.full(count, 1 / count, frequencies.dtype)
    return CosineKernel(frequencies, weights, 1 / math.sqrt(2 * count))

r"""Stationary Gaussian fields on grids by Fourier series ([dietrich1997]).

    X = Re F √(F c / N) ζ,   c_j = k(0, p_j)   on a torus around the grid

The covariance continued to a larger torus is diagonal in its Fourier modes; where its spectrum is
positive the field on the grid has exactly the covariance k.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import Count, PRNGKey
from ..._numerics import checked
from ...kernels._base import Kernel
from ...measures import GridDensity
from ...measures._base import concrete

# How much larger than the grid the torus around it may be; the first also where nothing can be
# looked at, so that draws of one key agree. And the part of the variance that may be lost where it
# has negative eigenvalues, beside what round-off of the transform is taken for.
_SIZES, _LOST = (4, 6, 8), 1e-8


@checked
def random_fields(
    key: PRNGKey, n: Count, kernel: Kernel, grid: GridDensity
) -> Float[Array, "n *cells"]:
    r"""`n` draws of a stationary Gaussian field at the centres of a grid, in O(N log N) of N cells.

    Exact: the covariance is continued to a larger torus, whose Fourier modes are independent
    ([dietrich1997]). Along glued axes it is summed over all periods.

    **Arguments:** `kernel`: a function of p − q. `grid`: the cells; its density doesn't matter.

    **Raises:** `ValueError` where no torus up to 8 times the grid has a positive spectrum: the
    correlation is longer than that (draws are NaN in compiled code); take `gaussian_process`.

    !!! example

        `fm.random_fields(key, 10, fm.GaussianKernel(0.1), fm.GridDensity(one, 0.0, 1.0))` with
        `one = jnp.ones((64, 64))`.
    """
    shape = grid.rho.shape
    sizes = _SIZES if concrete(grid, kernel) and not all(grid.periodic) else _SIZES[:1]
    spectrum = lost = excess = jnp.zeros(())
    for size in sizes:
        wide = [m if p else size * m for m, p in zip(shape, grid.periodic, strict=True)]
        lags = _lags(kernel, grid, wide)
        spectrum = jnp.fft.fftn(lags).real
        lost = jnp.sum(jnp.maximum(-spectrum, 0)) / jnp.sum(spectrum)
        noise = 4 * jnp.finfo(lags.dtype).eps * jnp.linalg.norm(lags) / jnp.max(lags)
        excess = lost - jnp.maximum(_LOST, noise)
        if concrete(excess) and float(excess) <= 0:
            break
    if concrete(excess) and not float(excess) <= 0:
        raise ValueError(
            f"`kernel` has no positive spectrum around the grid: {float(lost):.2g} of the variance "
            "would be lost. Take `gaussian_process`, or a kernel of a shorter length."
        )
    parts = jax.random.normal(key, (2, n, *spectrum.shape), spectrum.dtype)
    scale = jnp.sqrt(jnp.maximum(spectrum, 0) / spectrum.size)
    axes = tuple(range(1, spectrum.ndim + 1))
    fields = jnp.fft.fftn(jax.lax.complex(scale * parts[0], scale * parts[1]), axes=axes).real
    fields = fields[(slice(None), *(slice(m) for m in shape))]
    return jnp.where(excess <= 0, fields, jnp.nan)


def _lags(kernel: Any, grid: GridDensity, wide: list[int]) -> Array:
    """k(0, p) at the lags of the torus, the shorter way around."""
    dtype, periods = grid.rho.dtype, []
    for size, glued in zip(wide, grid.periodic, strict=True):
        steps = np.arange(size)
        short = np.where(steps > size // 2, steps - size, steps)
        around = np.arange(-4, 5) * size if glued else np.zeros(1)
        periods.append(short[:, None] + around)
    axes = [jnp.asarray(p, dtype) * h for p, h in zip(periods, grid.spacing, strict=True)]
    images = jnp.stack(jnp.meshgrid(*(a.ravel() for a in axes), indexing="ij"), axis=-1)
    zero = jnp.zeros(len(wide), dtype)
    values = jax.vmap(lambda p: kernel(p, zero))(images.reshape(-1, len(wide)))
    folded = values.reshape([m for p in periods for m in p.shape])
    return jnp.sum(folded, axis=tuple(range(1, 2 * len(wide), 2)))

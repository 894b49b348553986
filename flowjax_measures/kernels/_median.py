r"""The Gaussian kernel whose bandwidth follows the particles ([liu2016]).

h² = median_{i≠j} ‖x_i − x_j‖² / (2 log n):  n neighbours weigh about as much as the point itself.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._numerics import Checked
from ._base import flat
from ._radial import GaussianKernel

# Passes over the pairs; ties may never be told apart.
_PASSES = 64


class MedianKernel(Checked):
    """For the `Stein` metric: at each measure the `GaussianKernel` of the median distance.

    `scale` multiplies the bandwidth. The derivative is that of the pair that is the median.

    The median is that of all pairs up to n = `atoms`, and beyond of those with that many atoms,
    evenly spaced in their order, in O(n) memory: its rank is off by a share of about one over the
    root of `atoms`, 4%, which moves the bandwidth by a few percent.

    !!! example

        `fm.Stein(fm.MedianKernel())`
    """

    scale: Any = 1.0
    atoms: int = eqx.field(static=True, default=512)

    def of(self, mu: Any) -> GaussianKernel:
        """The kernel at the measure `mu`; all of its atoms count alike."""
        x = jax.vmap(flat)(mu.atoms()[0])
        square = median_square(x, self.atoms) / (2 * jnp.log(jnp.asarray(len(x), x.dtype)))
        return GaussianKernel(self.scale * jnp.sqrt(square))


def median_square(x: Float[Array, "n d"], most: int) -> Float[Array, ""]:
    """The (lower) median of ‖x_i − x_j‖² over i ≠ j, at most so many i, without sorting."""
    n = len(x)
    rows = min(n, most)
    some = np.arange(rows) * n // rows
    centred = x - jax.lax.stop_gradient(jnp.mean(x, axis=0))
    square = jnp.sum(centred**2, axis=1)
    distances = square[some, None] + square - 2 * centred[some] @ centred.T
    pairs = jax.lax.stop_gradient(distances).at[np.arange(rows), some].set(-1)
    # The diagonal, below all others, comes before the median.
    rank = jnp.asarray(rows + (rows * (n - 1) + 1) // 2, x.dtype)

    def narrow(carry):
        count, low, high, below, upto = carry
        # Between two thresholds ranks are nearly linear: aim at a little more, or less, in turn;
        # every third time halve, which is safe.
        aim = (rank - below) / (upto - below) + jnp.where(count % 2 == 0, 0.02, -0.02)
        part = jnp.where(count % 3 == 2, 0.5, jnp.clip(aim, 0.01, 0.99)).astype(x.dtype)
        cut = low + part * (high - low)
        # A product of matrices counts ten times faster than a sum.
        found = jnp.sum((pairs <= cut).astype(x.dtype) @ jnp.ones(n, x.dtype))
        enough = found >= rank
        low, below = jnp.where(enough, low, cut), jnp.where(enough, below, found)
        high, upto = jnp.where(enough, cut, high), jnp.where(enough, found, upto)
        return count + 1, low, high, below, upto

    zero, number = jnp.zeros((), x.dtype), jnp.asarray(rows * n, x.dtype)
    # Of all pairs every one is there twice.
    times = 2 if rows == n else 1
    _, low, *_ = jax.lax.while_loop(
        lambda c: (c[0] < _PASSES) & (c[4] - c[3] > times),
        narrow,
        (0, zero, jnp.max(pairs), zero + rows, number),
    )
    return jnp.min(jnp.where(pairs > low, distances, jnp.inf))

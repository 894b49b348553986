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

    The median is that of all pairs up to n = `atoms`. Beyond it is that of as many pairs as so many
    atoms have, P = `atoms`²/2, of which every atom has its share: its rank is off by a share of
    about 1/(2√P), 0.3%, and it costs O(P + n).

    !!! example

        `fm.Stein(fm.MedianKernel())`
    """

    scale: Any = 1.0
    atoms: int = eqx.field(static=True, default=256)

    def of(self, mu: Any) -> GaussianKernel:
        """The kernel at the measure `mu`; all of its atoms count alike."""
        x = jax.vmap(flat)(mu.atoms()[0])
        square = median_square(x, self.atoms) / (2 * jnp.log(jnp.asarray(len(x), x.dtype)))
        return GaussianKernel(self.scale * jnp.sqrt(square))


def median_square(x: Float[Array, "n d"], most: int) -> Float[Array, ""]:
    """The (lower) median of ‖x_i − x_j‖² over i ≠ j, of all pairs of at most so many points."""
    squares = _squares(x, most)
    pairs = jax.lax.stop_gradient(squares)
    top = jnp.max(pairs)
    rank = jnp.asarray((pairs.size + 1) // 2, x.dtype)

    def narrow(carry):
        count, low, high, below, upto = carry
        # Between two thresholds ranks are nearly linear: aim at a little more, or less, in turn;
        # every third time halve, which is safe.
        aim = (rank - below) / (upto - below) + jnp.where(count % 2 == 0, 0.02, -0.02)
        part = jnp.where(count % 3 == 2, 0.5, jnp.clip(aim, 0.01, 0.99)).astype(x.dtype)
        cut = low + part * (high - low)
        found = jnp.sum((pairs <= cut).astype(x.dtype))
        enough = found >= rank
        low, below = jnp.where(enough, low, cut), jnp.where(enough, below, found)
        high, upto = jnp.where(enough, cut, high), jnp.where(enough, found, upto)
        return count + 1, low, high, below, upto

    zero, number = jnp.zeros((), x.dtype), jnp.asarray(pairs.size, x.dtype)
    _, low, *_ = jax.lax.while_loop(
        lambda c: (c[0] < _PASSES) & (c[4] - c[3] > 1),
        narrow,
        (0, -jnp.ones((), x.dtype), top, zero, number),
    )
    found = jnp.min(jnp.where(pairs > low, squares, jnp.inf))
    return jnp.where(jnp.isnan(top), top, found)


def _squares(x: Float[Array, "n d"], most: int) -> Float[Array, " p"]:
    """‖x_i − x_j‖² of pairs j = i + s around the list of points, of all s or of some even ones.

    A shift has every point twice, so that what is left out is as good as a few pairs of each.
    """
    n = len(x)
    half = (n - 1) // 2
    parts = [x[: n // 2] - x[n // 2 :]] if n % 2 == 0 and n <= most else []
    if half:
        count = min(half, max(most**2 // (2 * n), 1))
        shifts = np.unique(np.round(np.linspace(1, half, count)).astype(int))
        twice = jnp.concatenate([x, x])
        moved = jax.vmap(lambda s: jax.lax.dynamic_slice_in_dim(twice, s, n))(shifts)
        parts.append((moved - x).reshape(-1, x.shape[1]))
    return jnp.sum(jnp.concatenate(parts) ** 2, 1) if parts else jnp.full(1, jnp.inf, x.dtype)

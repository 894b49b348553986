r"""The second-order divergence ∇²:b of a symmetric field b on a periodic grid, as a matrix.

b_xx and b_yy live at the centres of cells and b_xy at their upper corners, so that ∇·b lives on
faces, and its divergence is ∇²:b in the cells.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..measures import GridDensity


class SecondOrder(NamedTuple):
    """On b in the order xx, yy, xy; on the line xx alone.

    `divergence`: ∇²:b. `rows`: ∇·b on faces, less what follows from the others. `share`: the
    density where b lives. `count`: how often an entry of b stands in its matrix.
    """

    divergence: Float[Array, "cells entries"]
    rows: Float[Array, "faces entries"]
    share: Float[Array, "entries cells"]
    count: Float[Array, " entries"]


def second_order(grid: GridDensity) -> SecondOrder:
    """The maps of a grid of one or two dimensions."""
    shape, dtype, h = grid.rho.shape, grid.rho.dtype, grid.spacing
    forward = [np.roll(np.eye(n), 1, 1) - np.eye(n) for n in shape]
    if len(shape) == 1:
        (up,) = forward
        second, rows = _cast(-up.T @ up, dtype) / h[0] ** 2, _cast(up[:-1], dtype) / h[0]
        return SecondOrder(second, rows, jnp.eye(shape[0], dtype=dtype), jnp.ones(shape[0], dtype))
    eyes, cells = [np.eye(n) for n in shape], shape[0] * shape[1]
    x, y = (_cast(np.kron(*pair), dtype) for pair in ((forward[0], eyes[1]), (eyes[0], forward[1])))
    x, y = x / h[0], y / h[1]
    divergence = jnp.concatenate([-x.T @ x, -y.T @ y, 2 * x.T @ y.T], axis=1)
    none = jnp.zeros_like(x)
    rows = [
        jnp.concatenate([x, none, -y.T], axis=1)[:-1],
        jnp.concatenate([none, y, -x.T], axis=1)[:-1],
    ]
    corners = _cast(np.kron(*(eye + up / 2 for eye, up in zip(eyes, forward, strict=True))), dtype)
    one = jnp.eye(cells, dtype=dtype)
    share = jnp.concatenate([one, one, corners])
    count = jnp.concatenate([jnp.ones(2 * cells, dtype), jnp.full(cells, 2, dtype)])
    return SecondOrder(divergence, jnp.concatenate(rows), share, count)


def _cast(matrix: np.ndarray, dtype) -> Array:
    return jnp.asarray(matrix, dtype)

r"""Fluxes through the faces of a grid, as the linear maps of a problem of least action.

D q: what leaves a cell,   W ρ: the mean of both cells at a face,   c = volume / side²
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..measures import GridDensity
from ..measures._base import concrete

Obstacle = Bool[Array, "*cells"] | np.ndarray | Callable[[Any], Any] | None


class GridFlow(NamedTuple):
    """The maps between the cells that are open, and where cells and faces lie in the grid.

    `flow`: (cells, faces); `share`: (faces, cells); `faces`: for each face its axis and lower cell.
    `parts`: what hangs together, indicators of norm one.
    """

    cells: Any
    flow: Any
    share: Any
    faces: Any
    parts: Any


def grid_flow(mu: GridDensity, obstacle: Obstacle) -> GridFlow:
    """Faces between open neighbours, across glued walls too."""
    shape = mu.rho.shape
    open_ = ~_blocked(mu, obstacle)
    number = np.full(shape, -1)
    number[open_] = np.arange(open_.sum())
    faces = []
    for axis in range(len(shape)):
        lower, upper = number, np.roll(number, -1, axis)
        both = (lower >= 0) & (upper >= 0)
        if not mu.periodic[axis]:
            both[(slice(None),) * axis + (-1,)] = False
        at = np.flatnonzero(both)
        faces.append(np.stack([np.full(at.size, axis), at, lower[both], upper[both]], 1))
    faces = np.concatenate(faces)
    count, cells = len(faces), int(open_.sum())
    flow, share = np.zeros((cells, count)), np.zeros((count, cells))
    index = np.arange(count)
    flow[faces[:, 2], index], flow[faces[:, 3], index] = 1, -1
    share[index, faces[:, 2]] = share[index, faces[:, 3]] = 0.5
    return GridFlow(np.flatnonzero(open_), flow, share, faces[:, :2], _parts(flow))


def _parts(flow: np.ndarray) -> np.ndarray:
    # Imported where it is needed: scipy takes its time.
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(csr_matrix(flow @ flow.T), directed=False)
    parts = (label == np.arange(count)[:, None]).astype(float)
    return parts / np.linalg.norm(parts, axis=1, keepdims=True)


def _blocked(mu: GridDensity, obstacle: Obstacle) -> np.ndarray:
    if obstacle is None:
        return np.zeros(mu.rho.shape, bool)
    if callable(obstacle):
        points = mu.centres().reshape(-1, mu.rho.ndim)
        obstacle = np.asarray(jax.vmap(obstacle)(points)).reshape(mu.rho.shape)
    if not concrete(obstacle):
        raise ValueError("`obstacle` is traced; which cells are open is part of the program.")
    blocked = np.asarray(obstacle)
    if blocked.shape != mu.rho.shape or blocked.dtype != bool:
        raise ValueError(
            f"`obstacle` is {blocked.dtype} of shape {blocked.shape}; give a bool for each of the "
            f"{mu.rho.shape} cells, or a function of a point."
        )
    return blocked


def on_grid(
    values: Float[Array, "k cells"], cells: Int[Array, " cells"], shape: tuple[int, ...]
) -> Array:
    """Values of open cells in their places, 0 elsewhere."""
    full = jnp.zeros((len(values), int(np.prod(shape))), values.dtype)
    return full.at[:, cells].set(values).reshape(-1, *shape)


def on_faces(
    values: Float[Array, "k faces"], faces: Int[Array, "faces 2"], shape: tuple[int, ...]
) -> Float[Array, "k d *cells"]:
    """Values through upper faces, an axis after the other; 0 at walls."""
    size = int(np.prod(shape))
    full = jnp.zeros((len(values), len(shape) * size), values.dtype)
    full = full.at[:, faces[:, 0] * size + faces[:, 1]].set(values)
    return full.reshape(-1, len(shape), *shape)

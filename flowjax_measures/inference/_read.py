"""Snapshots from tables of cells, arrays, xarray, AnnData: pairs (ts, snapshots) for `fit`."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from ..measures import Particles


def from_arrays(
    points: ArrayLike, times: Any, weights: Any = None
) -> tuple[np.ndarray, list[Particles]]:
    """Groups rows by their times.

    **Arguments:** `points`: shape (n, d). `times`: shape (n,), one for each row, numbers or what
    NumPy turns into numbers. `weights`: masses of the rows, shape (n,); equal by default.

    **Returns:** the different times in order, and `Particles` for each.
    """
    points, times = np.asarray(points), _numbers(times)
    if not np.issubdtype(points.dtype, np.floating):
        points = points.astype(float)
    if points.ndim != 2 or times.shape != points.shape[:1]:
        raise ValueError(
            f"`points` has shape {points.shape} and `times` {times.shape}; give (n, d) and (n,)."
        )
    bad = ~(np.isfinite(points).all(1) & np.isfinite(times))
    if bad.any():
        raise ValueError(f"`points` or `times` are not finite in {bad.sum()} rows; drop these.")
    log_w = None if weights is None else np.log(np.asarray(weights, points.dtype))
    ts = np.unique(times)
    return ts, [
        Particles(jnp.asarray(points[times == t]), None if log_w is None else log_w[times == t])
        for t in ts
    ]


def from_xarray(
    array: Any, time: str = "time", particle: str = "particle"
) -> tuple[np.ndarray, list[Particles]]:
    """Snapshots of a `DataArray` with the axes `time`, `particle` and one of coordinates.

    Rows that are NaN are left out: the number of particles may differ.
    """
    missing = {time, particle} - set(getattr(array, "dims", ()))
    if missing or len(array.dims) != 3:
        raise ValueError(
            f"`array` has the axes {getattr(array, 'dims', None)}; it needs `time` ({time!r}), "
            f"`particle` ({particle!r}) and one axis of coordinates."
        )
    array = array.transpose(time, particle, ...)
    points, times = np.asarray(array.values), _numbers(array[time].values)
    present = ~np.isnan(points).any(2)
    rows = np.broadcast_to(times[:, None], present.shape)
    return from_arrays(points[present], rows[present])


def from_anndata(
    data: Any, time: str, embedding: str | None = None, weights: str | None = None
) -> tuple[np.ndarray, list[Particles]]:
    """Snapshots of an `AnnData` object.

    **Arguments:** `time`: the column of `data.obs` that holds the times; categories of numbers
    will do. `embedding`: the key of `data.obsm`, for example "X_pca"; `None` takes `data.X`.
    `weights`: a column of `data.obs` of masses.
    """
    for name in ("obs", "obsm", "X"):
        if not hasattr(data, name):
            raise ValueError(
                f"`data` is {type(data)} and has no `{name}`; give an AnnData object, or take "
                "`from_arrays(points, times)`."
            )
    for name, key in (("time", time), ("weights", weights)):
        if key is not None and key not in data.obs:
            raise ValueError(f"`{name}` is {key!r}; `data.obs` has {list(data.obs)}.")
    if embedding is not None and embedding not in data.obsm:
        raise ValueError(f"`embedding` is {embedding!r}; `data.obsm` has {list(data.obsm)}.")
    points = data.X if embedding is None else data.obsm[embedding]
    points = points.toarray() if hasattr(points, "toarray") else np.asarray(points)
    return from_arrays(points, data.obs[time], None if weights is None else data.obs[weights])


def _numbers(times: Any) -> np.ndarray:
    try:
        return np.asarray(times).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`times` are {np.asarray(times).ravel()[:3]}; give numbers, for example the days that "
            "the labels stand for."
        ) from error

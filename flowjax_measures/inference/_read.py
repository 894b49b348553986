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

    **Arguments:** `points`: shape (n, d). `times`: shape (n,), one for each row, numbers in a unit
    of your choice. `weights`: masses of the rows, shape (n,); equal by default.

    **Returns:** the different times in order, and `Particles` for each.
    """
    points, times = _numbers(points, "points"), _numbers(times, "times")
    if points.ndim != 2 or points.size == 0 or times.shape != points.shape[:1]:
        raise ValueError(
            f"`points` has shape {points.shape} and `times` {times.shape}; give (n, d) and (n,), "
            "with n and d at least 1."
        )
    bad = ~(np.isfinite(points).all(1) & np.isfinite(times))
    if bad.any():
        raise ValueError(f"`points` or `times` are not finite in {bad.sum()} rows; drop these.")
    if weights is not None:
        weights = _numbers(weights, "weights")
        if weights.shape != times.shape or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(
                f"`weights` has shape {weights.shape} for {times.size} rows, or holds NaN, inf or "
                "negative numbers; give one mass ≥ 0 for each row."
            )
    ts = np.unique(times)
    return ts, [
        Particles(
            jnp.asarray(points[times == t]),
            weights=None if weights is None else weights[times == t].astype(points.dtype),
        )
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
    points, times = _numbers(array.values, "array"), _numbers(array[time].values, "times")
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


def _numbers(values: Any, name: str) -> np.ndarray:
    """Real numbers as floats; dates, durations, complex numbers and text are refused."""
    values = np.asarray(values)
    kind = values.dtype.kind
    if kind in "mM":
        raise ValueError(
            f"`{name}` are dates or durations; say in which unit they count, for example days "
            "since the first: (times - times.min()) / np.timedelta64(1, 'D')."
        )
    try:
        if kind == "c":
            raise ValueError("complex")
        return values if kind == "f" else values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` are {values.ravel()[:3]}; give real numbers, for example the days that the "
            "labels stand for."
        ) from error

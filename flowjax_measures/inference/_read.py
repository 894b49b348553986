"""Snapshots from arrays, tables, xarray, AnnData: pairs (ts, snapshots) for `fit`."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from .._numerics import checked
from ..measures import Particles


@checked
def from_arrays(
    points: ArrayLike, times: Any, weights: Any = None, *, unit: str | None = None
) -> tuple[np.ndarray, list[Particles]]:
    """Groups rows by their times.

    **Arguments:**

    - `points`: shape (n, d).
    - `times`: shape (n,), one for each row: numbers in a unit of your choice, or dates or
      durations.
    - `weights`: masses of the rows, shape (n,); equal by default.
    - `unit`: NumPy's name of the unit in which dates, from the first on, and durations are
      counted: "D", "h", "s", ….

    **Returns:** the different times in order, and `Particles` for each.

    **Raises:** `ValueError` for what isn't finite, for empty or complex arrays, and for dates
    without a `unit`.

    !!! example

        ```python
        days = np.array(["2020-01-01", "2020-01-03", "2020-01-01"], "datetime64[D]")
        ts, snapshots = fm.from_arrays(np.eye(3), days, unit="D")
        ts, [mu.size() for mu in snapshots]     # [0., 2.], [2, 1]
        ```
    """
    points, times = _numbers(points, "points"), _times(times, unit)
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


@checked
def from_table(
    table: Any,
    time: str,
    columns: Sequence[str] | None = None,
    weights: str | None = None,
    *,
    unit: str | None = None,
) -> tuple[np.ndarray, list[Particles]]:
    """Snapshots of a table of named columns: a data frame of pandas or polars, a dict, ….

    **Arguments:** `time`: the column of times. `columns`: those of the coordinates, in order; by
    default all others. `weights`: a column of masses. `unit`: as for `from_arrays`.

    !!! example

        `fm.from_table(frame, "day", ["x", "y"])`
    """
    names = list(table.keys() if isinstance(table, dict) else getattr(table, "columns", []))
    if columns is None:
        columns = [name for name in names if name not in (time, weights)]
    for argument, name in [
        ("time", time),
        ("weights", weights),
        *(("columns", c) for c in columns),
    ]:
        if name is not None and name not in names:
            raise ValueError(f"`{argument}` is {name!r}; `table` has the columns {names}.")
    if not columns:
        raise ValueError(f"`columns` are none; `table` has {names}.")
    points = np.stack([_numbers(table[name], f"columns[{name!r}]") for name in columns], 1)
    return from_arrays(points, table[time], weights and table[weights], unit=unit)


@checked
def from_xarray(
    array: Any, time: str = "time", particle: str = "particle", *, unit: str | None = None
) -> tuple[np.ndarray, list[Particles]]:
    """Snapshots of a `DataArray` with the axes `time`, `particle` and one of coordinates.

    Rows that are NaN are left out: the number of particles may differ. A time that has no other
    rows is left out with a warning. `unit`: as for `from_arrays`.

    !!! example

        `fm.from_xarray(run.to_xarray()["x"])`
    """
    missing = {time, particle} - set(getattr(array, "dims", ()))
    if missing or len(array.dims) != 3:
        raise ValueError(
            f"`array` has the axes {getattr(array, 'dims', None)}; it needs `time` ({time!r}), "
            f"`particle` ({particle!r}) and one axis of coordinates."
        )
    array = array.transpose(time, particle, ...)
    points, times = _numbers(array.values, "array"), _times(array[time].values, unit)
    present = ~np.isnan(points).any(2)
    empty = times[~present.any(axis=-1)]
    if 0 < empty.size < times.size:
        warnings.warn(
            f"`array` has no particle at the times {empty[:5]}: left out.",
            UserWarning,
            stacklevel=2,
        )
    rows = np.broadcast_to(times[:, None], present.shape)
    return from_arrays(points[present], rows[present])


@checked
def from_anndata(
    data: Any,
    time: str,
    embedding: str | None = None,
    weights: str | None = None,
    *,
    unit: str | None = None,
) -> tuple[np.ndarray, list[Particles]]:
    """Snapshots of an `AnnData` object.

    **Arguments:** `time`: the column of `data.obs` that holds the times; categories of numbers
    will do. `embedding`: the key of `data.obsm`, for example "X_pca"; `None` takes `data.X`.
    `weights`: a column of `data.obs` of masses. `unit`: as for `from_arrays`.

    !!! example

        `fm.from_anndata(cells, "day", "X_pca")`
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
    return from_arrays(points, data.obs[time], weights and data.obs[weights], unit=unit)


def _times(times: Any, unit: str | None) -> np.ndarray:
    """Times as numbers; dates and durations in their unit, dates from the first."""
    times = np.asarray(times)
    if times.dtype.kind not in "mM" or unit is None:
        return _numbers(times, "times")
    if times.size and np.isnat(times).any():
        raise ValueError(f"`times` are missing in {np.isnat(times).sum()} rows; drop these.")
    try:
        one = np.timedelta64(1, unit)
    except TypeError as error:
        raise ValueError(
            f"`unit` is {unit!r}; give NumPy's name of a unit: 'D', 'h', 's'."
        ) from error
    if times.dtype.kind == "M" and times.size:
        times = times - times.min()
    return times / one


def _numbers(values: Any, name: str) -> np.ndarray:
    """Real numbers as floats; dates, durations, complex numbers and text are refused."""
    values = np.asarray(values)
    kind = values.dtype.kind
    if kind in "mM":
        raise ValueError(
            f'`{name}` are dates or durations; say in which unit they count: `unit="D"` for days '
            "since the first."
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

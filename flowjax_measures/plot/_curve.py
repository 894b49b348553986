"""Numbers over time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike

from ..simulation._simulate import Trajectory
from ..storage._xarray import names
from ._axes import axes_of, label as name_axes, law_of, one_of

# A vector of more components is no legend that anybody reads.
_MANY = 8


def curve(ts: ArrayLike, values: ArrayLike, label: str = "", ax: Any = None, **style) -> Any:
    """An observable over time; of several, shape (T, k), one line each.

    **Arguments:** `ts`, `values`: T times and numbers; `label`: the name of the axis, and the
    entry in a legend.

    !!! example

        `plot.curve(run.ts, jax.vmap(fm.dispersion)(run.ys), "dispersion")`
    """
    times, numbers = np.asarray(ts), np.asarray(values)
    if times.ndim != 1 or numbers.shape[:1] != times.shape or numbers.ndim > 2:
        raise ValueError(
            f"`values` has the shape {numbers.shape} for `ts` of shape {times.shape}; give one "
            "number, or a row, for each time."
        )
    ax = axes_of(ax)
    ax.plot(times, numbers, label=label or None, **style)
    if np.issubdtype(numbers.dtype, np.integer):
        from matplotlib.ticker import MaxNLocator

        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    name_axes(ax, "t", label)
    return ax


def energy(
    run: Trajectory,
    energy: Callable | None = None,
    ax: Any = None,
    *,
    species: str | None = None,
    **style,
) -> Any:
    """An energy, or any number, along a run.

    **Arguments:** `run`; `energy`: function of a measure, for a run that holds measures; `None` for
    a run that observed numbers already: each of them is drawn, with its name, and vectors of few
    components as well; `species`: whose energy, where the run has several.

    !!! example

        `plot.energy(run, fm.dispersion)`
    """
    if energy is not None:
        law = law_of(run, species)
        name = getattr(energy, "__name__", type(energy).__name__)
        label = "energy" if "<" in name else name
        return curve(law.ts, jax.vmap(energy)(one_of(law.ys, None, "run")), label, ax, **style)
    run = law_of(run, species)
    named = {name: np.asarray(value) for name, value in names(run.ys).items()}
    wide = [n for n, v in named.items() if v.ndim > 2 or (v.ndim == 2 and v.shape[1] > _MANY)]
    if wide or isinstance(run.ys, tuple) or not named:
        raise ValueError(
            f"`run` holds more than numbers over time, {wide}: give the `energy` to evaluate, or "
            "simulate with `observe`."
        )
    ax = axes_of(ax)
    for name, value in named.items():
        columns = {name: value} if value.ndim == 1 else {
            f"{name}[{k}]": column for k, column in enumerate(value.T)
        }  # fmt: skip
        for title, column in columns.items():
            ax.plot(np.asarray(run.ts), column, **({"label": title} if title else {}) | style)
    name_axes(ax, "t", next(iter(named)) if len(named) == 1 else "")
    if any(named):
        ax.legend()
    return ax

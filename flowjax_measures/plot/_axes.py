"""What pictures have in common: axes and their names, and which points are drawn."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..measures import AbstractMeasure, GridDensity, Particles
from ..simulation._simulate import Trajectory


def pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'flowjax_measures[plot]'.") from error
    return plt


def axes_of(ax: Any, **options: Any) -> Any:
    """`ax`, or the axes of a new figure."""
    if ax is None:
        return pyplot().subplots(**options)[1]
    if not hasattr(ax, "get_xlim"):
        raise ValueError(
            f"`ax` is {type(ax).__name__}; give one axes of matplotlib, such as plt.subplots()[1]."
        )
    return ax


def line_style(style: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Keywords of a line over defaults; `lw` is `linewidth`. Without one, lines are whole."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {"linestyle": "-"} | defaults | normalize_kwargs(style, Line2D)


def label(ax: Any, x: str, y: str) -> None:
    """Names for axes that have none."""
    if x and not ax.get_xlabel():
        ax.set_xlabel(x)
    if y and not ax.get_ylabel():
        ax.set_ylabel(y)


def coordinate(k: int, names: Sequence[str] | None) -> str:
    """The name of a coordinate: that which was given, or x₁, x₂, …"""
    if names is None:
        return f"$x_{{{k + 1}}}$"
    if isinstance(names, str) or len(names) <= k:
        raise ValueError(
            f"`names` is {names!r}; give one for each coordinate, such as ('height / m', 'speed')."
        )
    return names[k]


def two_of(axes: Any, dimension: int) -> tuple[int, int]:
    """The two coordinates that are drawn."""
    try:
        first, second = (int(a) for a in axes)
    except (TypeError, ValueError):
        first = second = -1
    if not (0 <= first < dimension and 0 <= second < dimension):
        raise ValueError(
            f"`axes` is {axes!r}; give two coordinates out of 0 to {dimension - 1}, such as (0, 1)."
        )
    return first, second


def one_of(state: Any, species: str | None, name: str) -> Any:
    """The measure of one species."""
    if not isinstance(state, dict):
        if species is not None:
            raise ValueError(f"`species` is {species!r}, but `{name}` holds one law without names.")
        return state
    if species not in state:
        raise ValueError(
            f"`{name}` must be particles, a Gaussian or a density, but it holds {sorted(state)}: "
            f"give one of the species, species={sorted(state)[0]!r}."
        )
    return state[species]


def law_of(run: Any, species: str | None = None) -> Trajectory:
    """One run, of one species."""
    if not isinstance(run, Trajectory):
        hint = "; plot.measure draws one measure" if isinstance(run, AbstractMeasure) else ""
        raise ValueError(
            f"`run` is {type(run).__name__}; give what `simulate` returned without `observe`{hint}."
        )
    if np.ndim(run.ts) != 1:
        raise ValueError(
            f"`run` holds several runs: its times have the shape {np.shape(run.ts)}. Give one of "
            "them, jax.tree.map(lambda a: a[0], run)."
        )
    if species is None:
        return run
    return Trajectory(run.ts, one_of(run.ys, species, "run"), None, run.result, run.stats)


def positions(mu: Any, name: str = "mu") -> np.ndarray:
    """Positions of particles: of points with several parts (momenta, labels) the first."""
    if isinstance(mu, Particles):
        floats = [leaf for leaf in jax.tree.leaves(mu.x) if eqx.is_inexact_array(leaf)]
        batch = 1 if name == "mu" else 2  # atoms, and the times of a run
        if floats[0].ndim == batch + 1:
            return np.asarray(floats[0])
        raise ValueError(
            f"`{name}` must be particles whose points are vectors; here a point has the shape "
            f"{floats[0].shape[batch:]}."
        )
    hint = "Run without `observe` to keep the measures, and pick a species by its name."
    if isinstance(mu, Trajectory):
        hint = "Of a run, plot.trajectory draws the paths, and run.final is the last measure."
    elif isinstance(mu, GridDensity):
        hint = "A density has no points: plot.measure draws it."
    elif eqx.is_array(mu) or isinstance(mu, list | np.ndarray):
        hint = "Of an array give Particles(x). " + hint
    raise ValueError(
        f"`{name}` must be particles whose points are vectors, here it is {type(mu).__name__}. "
        + hint
    )


def shares(log_w: np.ndarray) -> np.ndarray:
    """Masses of sum one, along the last axis."""
    masses = np.exp(log_w - log_w.max(axis=-1, keepdims=True))
    return masses / masses.sum(axis=-1, keepdims=True)


def crowd(n: int) -> tuple[float, float]:
    """Area and opacity of dots, that many be seen as well as few."""
    thin = min(1.0, (200 / max(n, 1)) ** 0.5)
    return max(20 * thin, 2.0), max(0.7 * thin, 0.08)


def frames(ts: Any, ys: Any) -> list[Any]:
    """The states of a run at its times."""
    return [jax.tree.map(lambda a: a[k], ys) for k in range(ts.size)]  # noqa: B023

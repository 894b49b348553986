"""A run at a glance."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..measures import Gaussian, GridDensity, Particles
from ..measures._base import is_measure
from ..simulation._simulate import Results, Trajectory
from ..storage._xarray import names as names_of
from ._axes import coordinate, frames, label, law_of, positions, pyplot, shares
from ._clusters import clusters
from ._curve import curve
from ._measure import measure
from ._trajectory import trajectory

# Lines of one panel.
_MANY = 3


def summary(
    run: Trajectory,
    radius: float | None = None,
    *,
    names: Sequence[str] | None = None,
    time: str = "t",
) -> Any:
    """One figure of a run: its paths, where it ends, and its mean and spread over time.

    Several species have a row each. Of a run with `observe` every observable has a panel: numbers
    are lines, of an array the mean and the range. The title says how the run ended.

    **Arguments:** `run`; `radius`: colours the paths of particles by `cluster_labels`; `names` of
    the coordinates and of the `time`, with their units.

    **Returns:** the figure.

    !!! example

        `plot.summary(run, names=("height / m", "width / m"))`
    """
    run = law_of(run)
    named = names_of(run.ys, is_measure)
    laws = {name: law for name, law in named.items() if is_measure(law)}
    rows = len(laws) + -(-(len(named) - len(laws)) // 3)
    options = {"figsize": (11, 3.2 * rows + 0.4), "layout": "constrained", "squeeze": False}
    figure, panels = pyplot().subplots(rows, 3, **options)
    for row, (name, ys) in zip(panels, laws.items(), strict=False):
        _law(Trajectory(run.ts, ys, None, run.result, run.stats), name, row, radius, names, time)
    places = list(panels[len(laws) :].ravel())
    for name, values in named.items():
        if name not in laws:
            _numbers(run.ts, values, name, places.pop(0), time)
    for ax in places:
        ax.set_axis_off()
    figure.suptitle(_ending(run, time))
    return figure


def _ending(run: Trajectory, time: str) -> str:
    title = f"{time} from {float(run.ts[0]):.4g} to {float(run.ts[-1]):.4g}"
    if "num_steps" in run.stats:
        title += f", {int(run.stats['num_steps'])} steps"
    ended = run.result is None or bool(run.result == Results.successful)
    return title if ended else f"{title}. {Results[run.result]}"


def _law(run: Trajectory, name: str, row: Any, radius: Any, names: Any, time: str) -> None:
    """Paths, the end, and the moments of one law."""
    left, middle, right = row
    last = frames(run.ts, run.ys)[-1]
    if isinstance(run.ys, GridDensity) and run.ys.rho.ndim > 2:
        measure(frames(run.ts, run.ys)[0], ax=left, names=names)
        left.set_title("start")
    elif radius is not None and isinstance(run.ys, Particles):
        clusters(run, radius, ax=left, names=names, time=time)
    else:
        trajectory(run, ax=left, names=names, time=time)
    measure(last, ax=middle, names=names).set_title("end")
    mean, spread = _moments(run)
    for k in range(min(mean.shape[1], _MANY)):
        (line,) = right.plot(run.ts, mean[:, k], label=coordinate(k, names))
        low, high = mean[:, k] - spread[:, k], mean[:, k] + spread[:, k]
        right.fill_between(run.ts, low, high, alpha=0.2, linewidth=0, color=line.get_color())
    right.set_title("mean ± standard deviation")
    right.legend()
    label(right, time, "")
    if name:
        left.set_title(name, loc="left", fontweight="bold")


def _moments(run: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each coordinate over time."""
    if isinstance(run.ys, Gaussian):
        m, cov = np.asarray(run.ys.m), np.asarray(run.ys.cov)
        return m, np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    points, log_w = jax.vmap(lambda mu: mu.atoms())(run.ys)
    x = positions(run.ys, "run") if isinstance(run.ys, Particles) else np.asarray(points)
    weight = shares(np.asarray(log_w))[..., None]
    x = np.where(weight > 0, x, 0)
    mean = (weight * x).sum(1)
    return mean, np.sqrt((weight * (x - mean[:, None]) ** 2).sum(1))


def _numbers(ts: Any, values: Any, name: str, ax: Any, time: str) -> None:
    """An observable: a line, a few, or the mean and the range of many."""
    values = np.asarray(values)
    flat = values.reshape(len(values), -1) if values.ndim > 1 else values
    label(ax, time, name or "value")
    if flat.ndim == 1 or flat.shape[1] <= _MANY:
        curve(ts, flat, ax=ax)
        if flat.ndim > 1 and flat.shape[1] > 1:
            ax.legend([f"[{k}]" for k in range(flat.shape[1])])
        return
    (line,) = ax.plot(ts, flat.mean(1))
    shade = {"alpha": 0.2, "linewidth": 0, "color": line.get_color()}
    ax.fill_between(ts, flat.min(1), flat.max(1), **shade)
    ax.set_title(f"mean and range of {flat.shape[1]} numbers")

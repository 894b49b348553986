"""A sweep over two parameters as a map."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from ..sweeps._result import Sweep
from ._axes import axes_of, label


def phase_diagram(
    result: Sweep, values: Callable[[Any], ArrayLike] | None = None, ax: Any = None, **style
) -> Any:
    """A sweep over two parameters as a map: the first upwards, the second to the right.

    Ticks stand at the values of the parameters; an axis is logarithmic where they are powers. The
    colour bar says over what is averaged.

    **Arguments:** `result`: what `sweep` returned; seeds and further axes are averaged over.
    `values`: function of `result.values` to the array to draw, for values that are more than one
    array, such as `lambda v: v["order"]`.

    **Raises:** `ValueError` where `result` is no sweep over two parameters, or holds several arrays
    of which `values` picks none.

    !!! example

        ```python
        runs = fm.sweep(lambda p: p["a"] * p["b"], {"a": [1.0, 10.0, 100.0], "b": [0.0, 1.0]})
        ax = plot.phase_diagram(runs)
        ```
    """
    if not isinstance(result, Sweep):
        raise ValueError(f"`result` is {type(result).__name__}; give what `sweep` returned.")
    named, name = result.variables(), ""
    if values is None and len(named) > 1:
        raise ValueError(
            f"`values` says which of {sorted(named)} to draw: values=lambda v: v[{min(named)!r}]."
        )
    if values is None:
        ((name, chosen),) = named.items()
    else:
        chosen = values(result.values)
    data = np.asarray(chosen, float)
    axes = [axis for axis in result.coords if axis != "seed"]
    if len(axes) < 2 or data.ndim < len(result.coords):
        raise ValueError(
            f"`result` runs over {list(result.coords)} with values of shape {data.shape}; a phase "
            "diagram needs two parameters, and one number for each run."
        )
    rest = tuple(i for i, n in enumerate(result.coords) if n not in axes[:2])
    mean = data.mean(axis=rest + tuple(range(len(result.coords), data.ndim)))
    ax = axes_of(ax)
    up, right = (np.asarray(result.coords[axis], float) for axis in axes[:2])
    image = ax.pcolormesh(_edges(right), _edges(up), mean, **style)
    for axis, at in ((ax.xaxis, right), (ax.yaxis, up)):
        _ticks(axis, at)
    label(ax, axes[1], axes[0])
    over = [axis for axis in result.coords if axis not in axes[:2]]
    averaged = f"mean over {', '.join(over)}" if over else ""
    parts = ["" if name == "value" else name, averaged]
    ax.figure.colorbar(image, ax=ax, label=", ".join(filter(None, parts)))
    return ax


def _powers(at: np.ndarray) -> bool:
    """Whether values are closer to a geometric sequence than to an arithmetic one."""
    if at.size < 3 or np.any(at <= 0) or at.max() < 10 * at.min():
        return False
    spread = lambda a: np.ptp(np.diff(a)) / np.ptp(a)  # noqa: E731
    return spread(np.log(at)) < spread(at)


def _edges(at: np.ndarray) -> np.ndarray:
    """The borders of cells around values."""
    if at.size == 1:
        return at[0] + np.array([-0.5, 0.5])
    if _powers(at):
        return np.exp(_edges(np.log(at)))
    middle = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])


def _ticks(axis: Any, at: np.ndarray) -> None:
    if _powers(at):
        axis._set_axes_scale("log")
        axis.set_minor_locator(_fixed([]))
    if at.size <= 12:
        axis.set_major_locator(_fixed(at))
        axis.set_major_formatter(lambda value, _: f"{value:.3g}")


def _fixed(at: Any) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(list(at))

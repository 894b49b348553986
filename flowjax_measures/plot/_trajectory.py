"""A run: paths, ellipses or a density over time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..measures import Gaussian, GridDensity
from ..simulation._simulate import Trajectory
from ._axes import (
    axes_of,
    coordinate,
    frames,
    label,
    law_of,
    line_style,
    one_of,
    positions,
    pyplot,
    two_of,
)
from ._measure import ellipses, scale


def trajectory(
    run: Trajectory,
    axes: tuple[int, int] = (0, 1),
    ax: Any = None,
    *,
    species: str | None = None,
    names: Sequence[str] | None = None,
    time: str = "t",
    **style,
) -> Any:
    """A run without `observe`: the paths of particles in two coordinates, or one over time.

    Of a Gaussian: its ellipses at all times; in one dimension the mean and the band of two
    standard deviations over time. Of a density in one dimension: the density over time.

    **Arguments:** `run`; `axes`: the two coordinates; `species`: which, of several; `names` of
    the coordinates and of the `time`, with their units.

    **Raises:** `ValueError` naming the argument that is no run, or doesn't fit it.

    !!! example

        `plot.trajectory(run, names=("height / m", "width / m"))`
    """
    run = law_of(run, species)
    ts, ys = np.asarray(run.ts), one_of(run.ys, None, "run")
    if isinstance(ys, GridDensity):
        if ys.rho.ndim != 2:
            raise ValueError(
                "`run` holds densities in two dimensions; plot.measure(run.final) draws the last, "
                "plot.animation all of them."
            )
        ax = axes_of(ax)
        places = np.linspace(ys.lower[0, 0], ys.upper[0, 0], ys.rho.shape[1] + 1)
        edges = np.concatenate([ts[:1], (ts[1:] + ts[:-1]) / 2, ts[-1:]])
        scale(ax.pcolormesh(edges, places, np.asarray(ys.rho).T, **style), ax, "density")
        label(ax, time, coordinate(0, names))
        return ax
    if isinstance(ys, Gaussian):
        return _gaussians(ts, ys, axes, axes_of(ax), names, time, **style)
    x = positions(ys, "run")
    ax = axes_of(ax)
    # Two thousand paths are a cloud, and not a black star.
    thin = float(np.clip((200 / x.shape[1]) ** 0.5, 0.1, 1.0))
    style = line_style(style, color="0.5", linewidth=0.8, alpha=thin)
    if x.shape[2] == 1:
        ax.plot(ts, x[:, :, 0], **style)
        label(ax, time, coordinate(0, names))
        return ax
    first, second = two_of(axes, x.shape[2])
    ax.plot(x[:, :, first], x[:, :, second], **style)
    ax.set_aspect("equal")
    label(ax, coordinate(first, names), coordinate(second, names))
    return ax


def _gaussians(
    ts: np.ndarray,
    ys: Gaussian,
    axes: tuple[int, int],
    ax: Any,
    names: Sequence[str] | None,
    time: str,
    **style,
) -> Any:
    if ys.m.shape[1] == 1:
        mean, spread = np.asarray(ys.m[:, 0]), 2 * np.sqrt(np.asarray(ys.cov[:, 0, 0]))
        band = {k: v for k, v in style.items() if k in ("color", "c")}
        ax.fill_between(ts, mean - spread, mean + spread, alpha=0.3, linewidth=0, **band)
        ax.plot(ts, mean, **style)
        label(ax, time, coordinate(0, names))
        return ax
    colors = pyplot().get_cmap("viridis")(np.linspace(0, 0.9, ts.size))
    for mu, color in zip(frames(ts, ys), colors, strict=True):
        ellipses(mu, axes, ax, names, **line_style(style, color=color, linewidth=0.8))
    return ax

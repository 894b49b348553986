"""Which points end together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..observables import cluster_labels
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

_MARKERS = "osD^vP*X"


def clusters(
    run: Trajectory,
    radius: float,
    axes: tuple[int, int] = (0, 1),
    ax: Any = None,
    *,
    species: str | None = None,
    names: Sequence[str] | None = None,
    time: str = "t",
    **style,
) -> Any:
    """The paths of particles, in the colour of the cluster in which they end.

    The clusters are those of `cluster_labels(mu, radius)` at the last time; a marker stands at the
    end of each path, another for each cluster, so that colours may be few. Points of mass zero
    aren't drawn.

    **Arguments:** `run`: a run of particles without `observe`; `radius`: half the distance at which
    two points are neighbours; the others as of `plot.trajectory`.

    !!! example

        `plot.clusters(run, 0.3)`
    """
    run = law_of(run, species)
    ts, ys = np.asarray(run.ts), one_of(run.ys, None, "run")
    x = positions(ys, "run")
    last = frames(ts, ys)[-1]
    found = np.asarray(cluster_labels(last, radius))
    ax = axes_of(ax)
    colors = pyplot().rcParams["axes.prop_cycle"].by_key()["color"]
    pair = None if x.shape[2] == 1 else two_of(axes, x.shape[2])
    for k in range(found.max() + 1):
        members = x[:, found == k]
        one, other = (ts, members[:, :, 0]) if pair is None else (members[:, :, i] for i in pair)
        color, marker = colors[k % len(colors)], _MARKERS[k % len(_MARKERS)]
        ax.plot(one, other, **line_style(style, color=color, linewidth=0.8, alpha=0.7))
        ends = np.broadcast_to(ts[-1], other[-1].shape) if pair is None else one[-1]
        ax.plot(ends, other[-1], linestyle="", marker=marker, markersize=4, color=color)
    if pair is None:
        label(ax, time, coordinate(0, names))
        return ax
    ax.set_aspect("equal")
    label(ax, coordinate(pair[0], names), coordinate(pair[1], names))
    return ax

"""Points on the circle and on the sphere."""

from typing import Any

import numpy as np

from ..measures import Particles
from ..simulation._simulate import Trajectory
from ._axes import axes_of, law_of, one_of, positions


def sphere(
    mu: Particles | Trajectory, ax: Any = None, *, species: str | None = None, **style
) -> Any:
    """Points on the unit circle or sphere; of a run the paths as well.

    **Arguments:** `mu`: `Particles` in two or three coordinates, or a run of them. On the sphere
    `ax` is a three-dimensional one, `subplots(subplot_kw={"projection": "3d"})`. `species`: which,
    of several.

    **Raises:** `ValueError` naming `mu` or `ax` where the points or the axes have other dimensions.

    !!! example

        `plot.sphere(tokens)`
    """
    paths = None
    if isinstance(mu, Trajectory):
        paths = positions(one_of(law_of(mu).ys, species, "mu"), "run")
    x = positions(one_of(mu, species, "mu")) if paths is None else paths[-1]
    if x.shape[1] not in (2, 3):
        raise ValueError(f"`mu` has points of {x.shape[1]} coordinates; a picture needs 2 or 3.")
    ax = axes_of(ax, subplot_kw={"projection": "3d"} if x.shape[1] == 3 else None)
    if (ax.name == "3d") != (x.shape[1] == 3):
        raise ValueError(
            f"`ax` is {ax.name}, but the points have {x.shape[1]} coordinates: give plt.subplots("
            + ("subplot_kw={'projection': '3d'})[1]." if x.shape[1] == 3 else ")[1].")
        )
    angle = np.linspace(0, 2 * np.pi, 73)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    grid = {"color": "0.5", "alpha": 0.35, "linewidth": 0.6, "zorder": 0, "linestyle": "-"}
    if x.shape[1] == 2:
        ax.plot(*circle[:2], **grid)
    else:
        for height in np.linspace(-np.pi / 2, np.pi / 2, 7):
            ax.plot(*(np.cos(height) * circle[:2]), np.sin(height), **grid)
        for turn in np.linspace(0, np.pi, 7):
            ax.plot(np.cos(turn) * circle[0], np.sin(turn) * circle[0], circle[1], **grid)
    for path in np.moveaxis(paths, 1, 0) if paths is not None else ():
        ax.plot(*path.T, color="0.5", linewidth=0.5, alpha=0.6, linestyle="-")
    ax.scatter(*x.T, **{"s": 15, "linewidths": 0} | style)
    ax.set_aspect("equal")
    if x.shape[1] == 3:
        ax.set_box_aspect((1, 1, 1), zoom=1.4)
    ax.set_axis_off()
    return ax

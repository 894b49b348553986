"""Films of runs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..simulation._simulate import Trajectory
from ._axes import frames as frames_of, law_of, pyplot
from ._measure import measure


def animation(
    run: Trajectory,
    path: str | Path,
    draw: Callable[..., Any] = measure,
    ax: Any = None,
    fps: int = 20,
    *,
    species: str | None = None,
    **style,
) -> Any:
    """Writes a run as a film, one frame for each of its times, within the same limits.

    **Arguments:** `run`: a run without `observe`. `path`: ends in `.gif` or, where ffmpeg is
    installed, in `.mp4`. `draw`: function of a measure and `ax`, such as `plot.sphere`; of
    several species it is given all, or the one that is named by `species`.

    !!! example

        ```python
        plot.animation(run, "film.gif")
        ```
    """
    run, path = law_of(run, species), Path(path)
    kinds = {".gif": "pillow", ".mp4": "ffmpeg"}
    if path.suffix not in kinds:
        raise ValueError(f"`path` ends in {path.suffix!r}; a film is a '.gif' or an '.mp4'.")
    if path.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise ValueError("`path` is an MP4, which needs ffmpeg; install it, or write a '.gif'.")
    pyplot()
    from matplotlib.animation import FuncAnimation

    frames = frames_of(run.ts, run.ys)
    ax = draw(frames[0], ax=ax, **style)
    limits = []
    for frame in frames:
        ax.clear()
        limits.append((draw(frame, ax=ax, **style).get_xlim(), ax.get_ylim()))
    low, high = np.min(limits, axis=0)[:, 0], np.max(limits, axis=0)[:, 1]

    def show(k: int) -> None:
        ax.clear()
        draw(frames[k], ax=ax, **style)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=f"t = {run.ts[k]:.3g}")

    film = FuncAnimation(ax.figure, show, len(frames), interval=1000 / fps)
    film.save(path, writer=kinds[path.suffix], fps=fps)
    return ax

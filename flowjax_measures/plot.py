"""Pictures of measures, runs and sweeps, drawn into `ax` and returned; needs the extra `plot`.

Without `ax` a figure is made; it is `ax.figure`. Further keywords go to matplotlib.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from .measures import AbstractMeasure, Gaussian, GridDensity, Particles
from .simulation._simulate import Trajectory
from .storage._xarray import names
from .sweeps._result import Sweep


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'flowjax_measures[plot]'.") from error
    return plt


def _axes(ax: Any, **options: Any) -> Any:
    return _pyplot().subplots(**options)[1] if ax is None else ax


def _positions(mu: Any, name: str = "mu") -> np.ndarray:
    """Positions of particles: of points with several parts (momenta, labels) the first."""
    if isinstance(mu, Particles):
        floats = [leaf for leaf in jax.tree.leaves(mu.x) if eqx.is_inexact_array(leaf)]
        if floats[0].ndim > 1:
            return np.asarray(floats[0])
    raise ValueError(
        f"`{name}` must be particles whose points are vectors, here it is {type(mu).__name__}. Run "
        "without `observe` to keep the measures, and pick a species by its name."
    )


def curve(ts: ArrayLike, values: ArrayLike, label: str = "", ax: Any = None, **style) -> Any:
    """An observable over time; of several, shape (T, k), one line each."""
    ax = _axes(ax)
    ax.plot(np.asarray(ts), np.asarray(values), label=label or None, **style)
    ax.set_xlabel("t")
    if label:
        ax.set_ylabel(label)
    return ax


def energy(run: Trajectory, energy: Callable | None = None, ax: Any = None, **style) -> Any:
    """An energy, or any number, along a run.

    **Arguments:** `run`; `energy`: function of a measure, for a run that holds measures; `None` for
    a run that observed numbers already: each of them is drawn, with its name.

    !!! example

        `plot.energy(run, fm.KL(potential))`
    """
    if energy is not None:
        return curve(run.ts, jax.vmap(energy)(run.ys), ax=ax, **style)
    named = names(run.ys)
    if any(value.ndim != 1 for value in named.values()):
        raise ValueError(
            "`run` holds more than numbers over time: give the `energy` to evaluate, or simulate "
            "with `observe`."
        )
    ax = _axes(ax)
    for name, value in named.items():
        curve(run.ts, value, ax=ax, **({"label": name} if name else {}) | style)
    if any(named):
        ax.legend()
    return ax


def measure(mu: AbstractMeasure, axes: tuple[int, int] = (0, 1), ax: Any = None, **style) -> Any:
    """A measure in two of its coordinates, or as a density in one dimension.

    Particles are dots of area proportional to their mass, a Gaussian the ellipses of one and two
    standard deviations, a grid its density.
    """
    ax = _axes(ax)
    if isinstance(mu, GridDensity):
        return _grid(mu, ax, **style)
    if isinstance(mu, Gaussian):
        return _gaussian(mu, axes, ax, **style)
    x, weight = _positions(mu), np.exp(np.asarray(mu.atoms()[1]))
    if x.shape[1] == 1:
        edges = np.histogram_bin_edges(x[:, 0], style.pop("bins", "auto"))
        ax.hist(x[:, 0], edges, **{"weights": weight, "density": True} | style)
        return ax
    if "s" not in style and "c" not in style:
        style["s"] = 20 * weight * weight.size
    ax.scatter(x[:, axes[0]], x[:, axes[1]], **{"alpha": 0.6, "linewidths": 0} | style)
    ax.set_aspect("equal")
    return ax


def _grid(mu: GridDensity, ax: Any, **style) -> Any:
    lower, upper = np.asarray(mu.lower), np.asarray(mu.upper)
    if mu.rho.ndim == 1:
        ax.plot(np.asarray(mu.centres())[:, 0], np.asarray(mu.rho), **style)
        return ax
    box = (lower[0], upper[0], lower[1], upper[1])
    ax.imshow(np.asarray(mu.rho).T, origin="lower", extent=box, **style)
    return ax


def _gaussian(mu: Gaussian, axes: tuple[int, int], ax: Any, **style) -> Any:
    m, cov = np.asarray(mu.m), np.asarray(mu.cov)
    if m.size == 1:
        s = np.sqrt(cov[0, 0])
        x = np.linspace(m[0] - 4 * s, m[0] + 4 * s, 200)
        ax.plot(x, np.exp(-(((x - m[0]) / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi)), **style)
        return ax
    values, vectors = np.linalg.eigh(cov[np.ix_(axes, axes)])
    angle = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    for k in (1, 2):
        ellipse = vectors @ (np.sqrt(np.maximum(values, 0))[:, None] * circle) * k
        ax.plot(*(m[list(axes)][:, None] + ellipse), **{"color": "C1"} | style)
    ax.set_aspect("equal")
    return ax


def _frames(run: Trajectory) -> list[Any]:
    """The states of a run at its times."""
    return [jax.tree.map(lambda a: a[k], run.ys) for k in range(run.ts.size)]  # noqa: B023


def trajectory(run: Trajectory, axes: tuple[int, int] = (0, 1), ax: Any = None, **style) -> Any:
    """A run without `observe`: the paths of particles in two coordinates, or one over time.

    Of a Gaussian: its ellipses at all times; in one dimension the mean and the band of two
    standard deviations over time. Of a density in one dimension: the density over time.
    """
    ax, ts, ys = _axes(ax), np.asarray(run.ts), run.ys
    if isinstance(ys, GridDensity) and ys.rho.ndim == 2:
        places = np.linspace(ys.lower[0, 0], ys.upper[0, 0], ys.rho.shape[1] + 1)
        edges = np.concatenate([ts[:1], (ts[1:] + ts[:-1]) / 2, ts[-1:]])
        ax.pcolormesh(edges, places, np.asarray(ys.rho).T, **style)
        ax.set_xlabel("t")
        return ax
    if isinstance(ys, Gaussian):
        return _gaussians(run, axes, ax, **style)
    x = _positions(ys, "run")
    style = {"color": "0.4", "linewidth": 0.6} | style
    if x.shape[2] == 1:
        ax.plot(ts, x[:, :, 0], **style)
        ax.set_xlabel("t")
        return ax
    ax.plot(x[:, :, axes[0]], x[:, :, axes[1]], **style)
    ax.set_aspect("equal")
    return ax


def _gaussians(run: Trajectory, axes: tuple[int, int], ax: Any, **style) -> Any:
    if run.ys.m.shape[1] == 1:
        mean, spread = np.asarray(run.ys.m[:, 0]), 2 * np.sqrt(np.asarray(run.ys.cov[:, 0, 0]))
        ax.fill_between(run.ts, mean - spread, mean + spread, **{"alpha": 0.3} | style)
        return curve(run.ts, mean, ax=ax, **style)
    colors = _pyplot().get_cmap("viridis")(np.linspace(0, 0.9, run.ts.size))
    for mu, color in zip(_frames(run), colors, strict=True):
        _gaussian(mu, axes, ax, **{"color": color, "linewidth": 0.8} | style)
    return ax


def contours(
    function: Callable[[Any], ArrayLike],
    lower: ArrayLike,
    upper: ArrayLike,
    ax: Any = None,
    **style,
) -> Any:
    """Level lines of a function of a point of the plane, in the box from `lower` to `upper`."""
    lower, upper = np.broadcast_to(lower, 2), np.broadcast_to(upper, 2)
    lines = [jnp.linspace(a, b, 120) for a, b in zip(lower, upper, strict=True)]
    mesh = jnp.stack(jnp.meshgrid(*lines), axis=-1)
    ax = _axes(ax)
    levels = np.asarray(jax.vmap(jax.vmap(function))(mesh))
    ax.contour(*lines, levels, **{"levels": 14, "cmap": "Blues_r", "linewidths": 0.6} | style)
    ax.set_aspect("equal")
    return ax


def phase_diagram(
    result: Sweep, values: Callable[[Any], ArrayLike] | None = None, ax: Any = None, **style
) -> Any:
    """A sweep over two parameters as a map: the first upwards, the second to the right.

    **Arguments:** `result`: what `sweep` returned; seeds and further axes are averaged over.
    `values`: function of `result.values` to the array to draw, for values that are more than one
    array, such as `lambda v: v["order"]`.
    """
    data = np.asarray(result.values if values is None else values(result.values), float)
    axes = [name for name in result.coords if name != "seed"]
    if len(axes) < 2 or data.ndim < len(result.coords):
        raise ValueError(
            f"`result` runs over {list(result.coords)} with values of shape {data.shape}; a phase "
            "diagram needs two parameters, and one number for each run."
        )
    rest = tuple(i for i, n in enumerate(result.coords) if n not in axes[:2])
    mean = data.mean(axis=rest + tuple(range(len(result.coords), data.ndim)))
    ax = _axes(ax)
    up, right = (np.asarray(result.coords[name], float) for name in axes[:2])
    image = ax.pcolormesh(right, up, mean, **{"shading": "nearest"} | style)
    ax.set_xlabel(axes[1])
    ax.set_ylabel(axes[0])
    ax.figure.colorbar(image, ax=ax)
    return ax


def sphere(mu: Particles | Trajectory, ax: Any = None, **style) -> Any:
    """Points on the unit circle or sphere; of a run the paths as well.

    **Arguments:** `mu`: `Particles` in two or three coordinates, or a run of them. On the sphere
    `ax` is a three-dimensional one, `subplots(subplot_kw={"projection": "3d"})`.
    """
    paths = _positions(mu.ys, "mu") if isinstance(mu, Trajectory) else None
    x = _positions(mu) if paths is None else paths[-1]
    if x.shape[1] not in (2, 3):
        raise ValueError(f"`mu` has points of {x.shape[1]} coordinates; a picture needs 2 or 3.")
    ax = _axes(ax, subplot_kw={"projection": "3d"} if x.shape[1] == 3 else None)
    angle = np.linspace(0, 2 * np.pi, 73)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    grid = {"color": "0.85", "linewidth": 0.6, "zorder": 0}
    if x.shape[1] == 2:
        ax.plot(*circle[:2], **grid)
    else:
        for height in np.linspace(-np.pi / 2, np.pi / 2, 7):
            ax.plot(*(np.cos(height) * circle[:2]), np.sin(height), **grid)
        for turn in np.linspace(0, np.pi, 7):
            ax.plot(np.cos(turn) * circle[0], np.sin(turn) * circle[0], circle[1], **grid)
    for path in np.moveaxis(paths, 1, 0) if paths is not None else ():
        ax.plot(*path.T, color="0.5", linewidth=0.5, alpha=0.6)
    ax.scatter(*x.T, **{"s": 15, "linewidths": 0} | style)
    ax.set_aspect("equal")
    if x.shape[1] == 3:
        ax.set_box_aspect((1, 1, 1), zoom=1.4)
    ax.set_axis_off()
    return ax


def animation(
    run: Trajectory,
    path: str | Path,
    draw: Callable[..., Any] = measure,
    ax: Any = None,
    fps: int = 20,
    **style,
) -> Any:
    """Writes a run as a film, one frame for each of its times, within the same limits.

    **Arguments:** `run`: a run without `observe`. `path`: ends in `.gif` or, where ffmpeg is
    installed, in `.mp4`. `draw`: function of a measure and `ax`, such as `plot.sphere`.
    """
    path = Path(path)
    kinds = {".gif": "pillow", ".mp4": "ffmpeg"}
    if path.suffix not in kinds:
        raise ValueError(f"`path` ends in {path.suffix!r}; a film is a '.gif' or an '.mp4'.")
    if path.suffix == ".mp4" and shutil.which("ffmpeg") is None:
        raise ValueError("`path` is an MP4, which needs ffmpeg; install it, or write a '.gif'.")
    _pyplot()
    from matplotlib.animation import FuncAnimation

    frames = _frames(run)
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

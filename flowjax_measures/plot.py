"""Pictures of measures and runs, drawn into `ax` and returned; needs the extra `plot`."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from ._simulate import Trajectory
from .measures import AbstractMeasure, Gaussian, GridDensity, Particles


def _axes(ax: Any, **options: Any) -> Any:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'flowjax_measures[plot]'.") from error
    return plt.subplots(**options)[1]


def curve(ts: ArrayLike, values: ArrayLike, label: str = "", ax: Any = None) -> Any:
    """An observable over time."""
    ax = _axes(ax)
    ax.plot(np.asarray(ts), np.asarray(values), label=label or None)
    ax.set_xlabel("t")
    if label:
        ax.set_ylabel(label)
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
    if not isinstance(mu, Particles) or jnp.ndim(mu.x) != 2:
        raise ValueError("`mu` must be a Gaussian, a GridDensity or Particles of shape (n, d).")
    x, weight = np.asarray(mu.x), np.exp(np.asarray(mu.log_weights()))
    if x.shape[1] == 1:
        ax.hist(x[:, 0], weights=weight, bins="auto", density=True, **style)
        return ax
    ax.scatter(
        x[:, axes[0]], x[:, axes[1]], **{"s": 20 * weight * weight.size, "alpha": 0.6} | style
    )
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


def trajectory(run: Trajectory, axes: tuple[int, int] = (0, 1), ax: Any = None, **style) -> Any:
    """The paths of the particles of a run without `observe`, in two coordinates or over time."""
    ax = _axes(ax)
    if not isinstance(run.ys, Particles) or jnp.ndim(run.ys.x) != 3:
        raise ValueError("`run` must hold particles: simulate without `observe`.")
    x = np.asarray(run.ys.x)
    style = {"color": "0.4", "linewidth": 0.6} | style
    if x.shape[2] == 1:
        ax.plot(np.asarray(run.ts), x[:, :, 0], **style)
        ax.set_xlabel("t")
        return ax
    ax.plot(x[:, :, axes[0]], x[:, :, axes[1]], **style)
    ax.set_aspect("equal")
    return ax

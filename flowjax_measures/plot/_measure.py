"""One measure, and level lines to see it on."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from ..measures import AbstractMeasure, Gaussian, GridDensity
from ._axes import axes_of, coordinate, crowd, label, line_style, one_of, positions, shares, two_of

# Colour bars by their axes: the frames of a film share one.
_BARS: WeakKeyDictionary = WeakKeyDictionary()


def measure(
    mu: AbstractMeasure,
    axes: tuple[int, int] = (0, 1),
    ax: Any = None,
    *,
    species: str | None = None,
    names: Sequence[str] | None = None,
    **style,
) -> Any:
    """A measure in two of its coordinates, or as a density in one dimension.

    Particles are dots of area proportional to their mass, smaller and fainter where they are many;
    a Gaussian the ellipses of one and two standard deviations, a grid its density, in three
    dimensions the marginal one.

    **Arguments:** `mu`; `axes`: the two coordinates; `species`: whose measure, of a dict; `names`
    of the coordinates, with their units, such as `("height / m", "speed / (m/s)")`.

    **Raises:** `ValueError` naming the argument that is no measure, or doesn't fit it.

    !!! example

        `plot.measure(mu, names=("height / m", "width / m"))`
    """
    mu = one_of(mu, species, "mu")
    if isinstance(mu, GridDensity):
        return _grid(mu, axes, axes_of(ax), names, **style)
    if isinstance(mu, Gaussian):
        return ellipses(mu, axes, axes_of(ax), names, **style)
    x, weight = positions(mu), shares(np.asarray(mu.atoms()[1]))
    ax = axes_of(ax)
    if x.shape[1] == 1:
        edges = np.histogram_bin_edges(x[:, 0], style.pop("bins", "auto"))
        ax.hist(x[:, 0], edges, **{"weights": weight, "density": True} | style)
        label(ax, coordinate(0, names), "density")
        return ax
    first, second = two_of(axes, x.shape[1])
    area, alpha = crowd(len(x))
    if "s" not in style and "c" not in style:
        style["s"] = area * weight * weight.size
    ax.scatter(x[:, first], x[:, second], **{"alpha": alpha, "linewidths": 0} | style)
    ax.set_aspect("equal")
    label(ax, coordinate(first, names), coordinate(second, names))
    return ax


def _grid(mu: GridDensity, axes: tuple[int, int], ax: Any, names: Any, **style) -> Any:
    lower, upper = np.asarray(mu.lower), np.asarray(mu.upper)
    if mu.rho.ndim == 1:
        ax.plot(np.asarray(mu.centres())[:, 0], np.asarray(mu.rho), **style)
        label(ax, coordinate(0, names), "density")
        return ax
    first, second = axes
    others = tuple(i for i in range(mu.rho.ndim) if i not in axes)
    # Of three coordinates the two have their marginal density.
    rho = np.sum(np.asarray(mu.rho), others) * np.prod(np.asarray(mu.spacing)[list(others)])
    box = (lower[first], upper[first], lower[second], upper[second])
    image = ax.imshow(rho.T if first < second else rho, origin="lower", extent=box, **style)
    scale(image, ax, "density")
    label(ax, coordinate(first, names), coordinate(second, names))
    return ax


def scale(image: Any, ax: Any, name: str) -> None:
    """A colour bar, in place of that which the axes had."""
    if ax in _BARS:
        _BARS[ax].update_normal(image)
    else:
        _BARS[ax] = ax.figure.colorbar(image, ax=ax, label=name)


def ellipses(
    mu: Gaussian, axes: tuple[int, int], ax: Any, names: Sequence[str] | None, **style
) -> Any:
    """One and two standard deviations, or the density in one dimension."""
    m, cov = np.asarray(mu.m), np.asarray(mu.cov)
    if m.size == 1:
        s = np.sqrt(cov[0, 0])
        x = np.linspace(m[0] - 4 * s, m[0] + 4 * s, 200)
        ax.plot(x, np.exp(-(((x - m[0]) / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi)), **style)
        label(ax, coordinate(0, names), "density")
        return ax
    pair = two_of(axes, m.size)
    values, vectors = np.linalg.eigh(cov[np.ix_(pair, pair)])
    angle = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    for k in (1, 2):
        ellipse = vectors @ (np.sqrt(np.maximum(values, 0))[:, None] * circle) * k
        ax.plot(*(m[list(pair)][:, None] + ellipse), **line_style(style, color="C1"))
    ax.set_aspect("equal")
    label(ax, coordinate(pair[0], names), coordinate(pair[1], names))
    return ax


def contours(
    function: Callable[[Any], ArrayLike],
    lower: ArrayLike,
    upper: ArrayLike,
    ax: Any = None,
    **style,
) -> Any:
    """Level lines of a function of a point of the plane, in the box from `lower` to `upper`.

    **Raises:** `ValueError` where `function` returns more than a number.

    !!! example

        `plot.contours(lambda x: jnp.sum(x**2), -1.0, 1.0)`
    """
    low, high = np.broadcast_to(np.asarray(lower), 2), np.broadcast_to(np.asarray(upper), 2)
    lines = [jnp.linspace(a, b, 120) for a, b in zip(low, high, strict=True)]
    mesh = jnp.stack(jnp.meshgrid(*lines), axis=-1)
    levels = np.asarray(jax.vmap(jax.vmap(function))(mesh))
    if levels.shape != mesh.shape[:2]:
        raise ValueError(
            f"`function` returns values of shape {levels.shape[2:]}; level lines are those of a "
            "function of one point, shape (2,), to a number."
        )
    ax = axes_of(ax)
    ax.contour(*lines, levels, **{"levels": 14, "cmap": "Blues_r", "linewidths": 0.6} | style)
    ax.set_aspect("equal")
    label(ax, coordinate(0, None), coordinate(1, None))
    return ax

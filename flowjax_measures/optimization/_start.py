"""Where optimisation starts: first points and walls, from what users give."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PyTree

from .._custom_types import PRNGKey, Scalar
from ..measures import AbstractMeasure, Particles
from ..measures._base import concrete, replace
from ..noise._noise import floating, standard_normal
from ..spaces import AbstractSpace, Euclidean


def walls_of(bounds: Any, initial: Any) -> tuple[PyTree, PyTree]:
    """Lower and upper walls of one point's structure."""
    initial = as_point(initial)
    if hasattr(bounds, "lb"):
        bounds = (bounds.lb, bounds.ub)
    elif _is_pairs(bounds):
        pairs = np.asarray(bounds, float)
        bounds = (pairs[:, 0], pairs[:, 1])
    if not (isinstance(bounds, tuple | list) and len(bounds) == 2):
        raise ValueError("`bounds` is not (lower, upper); give both, of the structure of a point.")
    bounds = (as_point(bounds[0]), as_point(bounds[1]))
    if initial is None:
        lower, upper = (jax.tree.map(lambda a: jnp.asarray(a, float), b) for b in bounds)
        lower = jax.tree.map(lambda a, b: jnp.broadcast_arrays(a, b)[0], lower, upper)
        return _ordered(
            lower, jax.tree.map(lambda a, b: jnp.broadcast_arrays(a, b)[1], lower, upper)
        )
    point = jax.tree.map(lambda a: a[0], initial.atoms()[0]) if _is_measure(initial) else initial
    floats = floating(_as_floats(point))

    def fill(wall: ArrayLike | PyTree) -> PyTree:
        cast = lambda a, w: jnp.broadcast_to(jnp.asarray(w, a.dtype), a.shape)  # noqa: E731
        if jax.tree.structure(wall) == jax.tree.structure(point):
            return jax.tree.map(lambda a, w: None if a is None else cast(a, w), floats, wall,
                                is_leaf=lambda a: a is None)  # fmt: skip
        if jax.tree.structure(wall) == jax.tree.structure(floats):
            return jax.tree.map(cast, floats, wall)
        if np.ndim(wall) != 0:
            raise ValueError(
                f"`bounds` have the structure {jax.tree.structure(wall)}, a point of `initial` has "
                f"{jax.tree.structure(point)}; give walls of its structure, or numbers."
            )
        return jax.tree.map(lambda a: cast(a, wall), floats)

    return _ordered(fill(bounds[0]), fill(bounds[1]))


def _ordered(lower: PyTree, upper: PyTree) -> tuple[PyTree, PyTree]:
    """Both walls, of which the lower one is nowhere above the upper one."""
    for low, high in zip(jax.tree.leaves(lower), jax.tree.leaves(upper), strict=True):
        if concrete(low, high) and not np.all(np.asarray(low) <= np.asarray(high)):
            raise ValueError(
                "`bounds` hold NaN, or a lower bound above its upper one: lower "
                f"{np.asarray(low)}, upper {np.asarray(high)}. Give (lower, upper)."
            )
    return lower, upper


def _as_floats(point: Any) -> Any:
    """Arrays of integers beside floats are labels; all other numbers are floats."""
    leaves = jax.tree.leaves(point)
    kind = lambda a: jnp.asarray(a).dtype  # noqa: E731
    some = any(jnp.issubdtype(kind(a), jnp.inexact) for a in leaves)

    def cast(a):
        label = some and hasattr(a, "dtype") and not jnp.issubdtype(kind(a), jnp.inexact)
        return jnp.asarray(a) if label else jnp.asarray(a, jnp.result_type(kind(a), float))

    return jax.tree.map(cast, point)


def dimension_of(initial: Any, walls: Any) -> int:
    """The number of coordinates of a point; 0 where nothing says it."""
    if _is_measure(initial):
        one = lambda mu: floating(jax.tree.map(lambda a: a[0], mu.atoms()[0]))  # noqa: E731
        return sum(a.size for a in jax.tree.leaves(eqx.filter_eval_shape(one, initial)))
    point = as_point(initial) if initial is not None or walls is None else walls[0]
    floats = point if point is None else floating(_as_floats(point))
    return sum(int(np.size(a)) for a in jax.tree.leaves(floats))


def as_point(point: Any) -> Any:
    """A list of numbers is a vector, as it is for scipy; every other pytree is itself."""
    return np.asarray(point, float) if _is_numbers(point) else point


def _is_numbers(row: Any) -> bool:
    numbers = (int, float, np.number)
    return type(row) in (tuple, list) and len(row) > 0 and all(isinstance(v, numbers) for v in row)


def _is_pairs(bounds: Any) -> bool:
    if isinstance(bounds, np.ndarray | jax.Array):
        return bounds.ndim == 2 and bounds.shape[1] == 2
    # In the plane ([a, b], [c, d]) are two walls; [(a, b), (c, d)] and its like are two pairs.
    if type(bounds) is tuple and len(bounds) == 2 and all(type(b) is list for b in bounds):
        return False
    return isinstance(bounds, Sequence) and all(_is_numbers(b) and len(b) == 2 for b in bounds)


def _is_measure(initial: Any) -> bool:
    return isinstance(initial, AbstractMeasure)


def points(
    initial: Any, walls: Any, key: PRNGKey, particles: int, spread: Scalar, space: Any = None
) -> Particles:
    """The first points, between the walls and on their space."""
    initial = as_point(initial)
    if space is not None and not isinstance(space, AbstractSpace):
        raise ValueError(f"`space` is {space!r}; give an instance of a space, such as Sphere().")
    if _is_measure(initial) and space is not None:
        raise ValueError(
            "`space` is given beside a measure, which has its own; give Particles(x, space=...)."
        )
    home = Euclidean() if space is None else space
    if isinstance(initial, Particles):
        mu = initial
        _check_inside(mu.x, walls)
    elif _is_measure(initial):
        mu = Particles(initial.sample(key, particles))
    elif initial is not None:
        point = _one_point(initial)
        _check_inside(point, walls)
        floats = floating(point)
        shapes = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((particles, *a.shape), a.dtype), floats
        )
        draws = standard_normal(key, shapes)
        # The point itself is one of them.
        spread_out = jax.tree.map(lambda a, z: a + (spread * z).at[0].set(0), floats, draws)
        labels = jax.tree.map(lambda a: jnp.broadcast_to(a, (particles, *a.shape)), point)
        mu = Particles(eqx.combine(spread_out, labels), space=home)
    elif walls is None:
        raise ValueError("Neither `initial` nor `bounds` is given; give one to start from.")
    else:
        mu = Particles(_uniform(walls, key, particles), space=home)
    return mu


def _one_point(initial: Any) -> Any:
    point = _as_floats(initial)
    if isinstance(point, jax.Array) and point.ndim > 1:
        raise ValueError(
            f"`initial` is an array of shape {point.shape}, which is one point of "
            f"{point.size} coordinates; for a cloud of {point.shape[0]} points give "
            'Particles(initial), for one point that is a matrix {"matrix": initial}.'
        )
    return point


def _uniform(walls: tuple[PyTree, PyTree], key: PRNGKey, particles: int) -> PyTree:
    lower, upper = walls
    if isinstance(lower, jax.Array) and lower.ndim == 0:
        raise ValueError(
            "`bounds` are numbers, so the dimension is not known; give arrays, for example "
            "(jnp.full(2, -5.0), jnp.full(2, 5.0))."
        )
    leaves, structure = jax.tree.flatten(lower)
    if concrete(lower, upper) and not all(
        np.all(np.isfinite(np.asarray(a))) for a in jax.tree.leaves((lower, upper))
    ):
        raise ValueError("`bounds` are infinite, so no points can be drawn; give `initial` too.")
    keys = jax.tree.unflatten(structure, list(jax.random.split(key, len(leaves))))

    def fill(low, high, k):
        u = jax.random.uniform(k, (particles, *low.shape), low.dtype)
        return low + (high - low) * u

    return jax.tree.map(fill, lower, upper, keys)


def _check_inside(x: PyTree, walls: Any) -> None:
    if walls is None or not concrete(x, walls):
        return
    outside = lambda a, low, high: bool(np.any((np.asarray(a) < low) | (np.asarray(a) > high)))  # noqa: E731
    if any(jax.tree.leaves(jax.tree.map(outside, floating(x), *walls))):
        raise ValueError(
            "`initial` is outside `bounds`; give a start between the walls, or other walls."
        )


def placed(mu: Particles, x: PyTree) -> Particles:
    """The particles `mu` moved to `x`, summed over in one tile."""
    return replace(mu, x=x, block=mu.size() if mu.block is None else mu.block)

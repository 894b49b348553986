"""Where optimisation starts: first points and walls, from what users give."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PyTree

from .._custom_types import PRNGKey, Scalar
from ..measures import AbstractMeasure, Particles
from ..noise._noise import standard_normal


def inside(x: PyTree, walls: tuple[PyTree, PyTree]) -> PyTree:
    return jax.tree.map(lambda a, low, high: jnp.clip(a, low, high), x, *walls)


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
        return lower, jax.tree.map(lambda a, b: jnp.broadcast_arrays(a, b)[1], lower, upper)
    point = jax.tree.map(lambda a: a[0], initial.atoms()[0]) if _is_measure(initial) else initial
    point = jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a, float)), point)

    def fill(wall: ArrayLike | PyTree) -> PyTree:
        if jax.tree.structure(wall) != jax.tree.structure(point):
            return jax.tree.map(lambda a: jnp.full(a.shape, wall, a.dtype), point)
        cast = lambda w, a: jnp.broadcast_to(jnp.asarray(w, a.dtype), a.shape)  # noqa: E731
        return jax.tree.map(cast, wall, point)

    return fill(bounds[0]), fill(bounds[1])


def dimension_of(initial: Any, walls: Any) -> int:
    """The number of coordinates of a point; 0 where nothing says it."""
    if _is_measure(initial):
        initial = jax.tree.map(lambda a: a[0], initial.atoms()[0])
    point = as_point(initial) if initial is not None or walls is None else walls[0]
    return sum(int(np.size(a)) for a in jax.tree.leaves(point))


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


def points(initial: Any, walls: Any, key: PRNGKey, particles: int, spread: Scalar) -> Particles:
    """The first points."""
    initial = as_point(initial)
    if isinstance(initial, Particles):
        mu = initial
    elif _is_measure(initial):
        mu = Particles(initial.sample(key, particles))
    elif initial is not None:
        point = jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a, float)), initial)
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct((particles, *a.shape), a.dtype), point)
        draws = standard_normal(key, shapes)
        # The point itself is one of them.
        mu = Particles(jax.tree.map(lambda a, z: a + (spread * z).at[0].set(0), point, draws))
    elif walls is None:
        raise ValueError("Neither `initial` nor `bounds` is given; give one to start from.")
    else:
        lower, upper = walls
        if isinstance(lower, jax.Array) and lower.ndim == 0:
            raise ValueError(
                "`bounds` are numbers, so the dimension is not known; give arrays, for example "
                "(jnp.full(2, -5.0), jnp.full(2, 5.0))."
            )
        leaves, structure = jax.tree.flatten(lower)
        keys = jax.tree.unflatten(structure, list(jax.random.split(key, len(leaves))))

        def fill(low, high, k):
            u = jax.random.uniform(k, (particles, *low.shape), low.dtype)
            return low + (high - low) * u

        mu = Particles(jax.tree.map(fill, lower, upper, keys))
    return mu if walls is None else Particles(inside(mu.x, walls), mu.log_w, mu.space, mu.block)


def placed(mu: Particles, x: PyTree) -> Particles:
    """The particles `mu` moved to `x`."""
    return Particles(x, mu.log_w, mu.space, mu.size())

"""What observables see of a point: its position, never its labels or momenta."""

from typing import Any

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Point
from ..energies._ground import space_of
from ..measures import AbstractMeasure, Particles
from ..noise._noise import floating
from ..spaces import AbstractSpace, Euclidean, Phase, PhaseSpace, Product, Torus


def position(x: Point) -> Point:
    return floating(x.q if isinstance(x, Phase) else x)


def inner(x: Point, y: Point) -> FloatScalar:
    products = jax.tree.map(jnp.vdot, position(x), position(y))
    return jax.tree.reduce(jnp.add, products)


def space(mu: AbstractMeasure) -> AbstractSpace:
    """Where the points of a measure live; the tangent bundle of phase points is left as it is."""
    return mu.space if isinstance(mu, Particles) else space_of(mu)


def distance(space: AbstractSpace, x: Point, y: Point) -> FloatScalar:
    if isinstance(space, PhaseSpace):
        return space.distance(x, y)
    if isinstance(space, Euclidean):
        return space.distance(position(x), position(y))
    return space.distance(x, y)


def needs_particles(mu: Any, name: str) -> Particles:
    if not isinstance(mu, Particles):
        raise ValueError(
            f"`{name}` counts points, but a {type(mu).__name__} has none. Give `Particles`, for "
            "example Particles(mu.sample(key, n))."
        )
    return mu


def glued(space: AbstractSpace) -> bool:
    """Whether a coordinate has a period, so that vectors of coordinates mean nothing."""
    if isinstance(space, PhaseSpace):
        return glued(space.base)
    if isinstance(space, Product):
        parts = jax.tree.leaves(space.spaces, is_leaf=lambda s: isinstance(s, AbstractSpace))
        return any(glued(part) for part in parts)
    return isinstance(space, Torus)


def needs_vectors(mu: AbstractMeasure, name: str, instead: str) -> None:
    if glued(here := space(mu)):
        raise ValueError(
            f"`{name}` takes points as vectors, and those of `mu` are coordinates on {here}, "
            f"which depend on where it is cut; take {instead}."
        )

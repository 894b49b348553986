"""Products of spaces: a pytree of spaces for points that are pytrees of the same shape."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import safe_sqrt
from ._base import AbstractSpace, squared_distance
from ._euclidean import Euclidean
from ._simplex import Simplex


def _is_space(node) -> bool:
    return isinstance(node, AbstractSpace)


class Product(AbstractSpace):
    """The product of spaces, with the product metric.

    **Arguments:** `spaces`: a pytree of spaces that is a prefix of the points' structure, for
    example `{"token": Sphere(), "age": Euclidean()}` for points `{"token": …, "age": …}`.

    !!! example

        `fm.Product((fm.Sphere(), fm.Torus(1.0)))`
    """

    spaces: PyTree

    def project(self, x: Point, v: Velocity) -> Velocity:
        return jax.tree.map(lambda s, a, b: s.project(a, b), self.spaces, x, v, is_leaf=_is_space)

    def nearest(self, x: Point) -> Point:
        return jax.tree.map(lambda s, a: s.nearest(a), self.spaces, x, is_leaf=_is_space)

    def exponential(self, x: Point, v: Velocity) -> Point:
        """The ends of the geodesics of the factors."""
        return jax.tree.map(
            lambda s, a, b: s.exponential(a, b), self.spaces, x, v, is_leaf=_is_space
        )

    def logarithm(self, x: Point, y: Point) -> Velocity:
        """The tangents at `x` of the shortest geodesics of the factors to `y`."""
        return jax.tree.map(lambda s, a, b: s.logarithm(a, b), self.spaces, x, y, is_leaf=_is_space)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        return safe_sqrt(self.squared_distance(x, y))

    def squared_distance(self, x: Point, y: Point) -> FloatScalar:
        """The sum of the factors' squared distances."""
        squares = jax.tree.map(
            lambda s, a, b: squared_distance(s, a, b), self.spaces, x, y, is_leaf=_is_space
        )
        return jax.tree.reduce(jnp.add, squares)


def is_flat(space: AbstractSpace) -> bool:
    """Whether distances are those of the vectors themselves."""
    if isinstance(space, Product):
        parts = jax.tree.leaves(space.spaces, is_leaf=lambda s: isinstance(s, AbstractSpace))
        return all(is_flat(part) for part in parts)
    return isinstance(space, Euclidean | Simplex)

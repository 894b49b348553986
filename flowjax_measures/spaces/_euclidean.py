"""Flat space R^d, or any pytree of arrays as one vector."""

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import safe_sqrt
from ._base import AbstractSpace


class Euclidean(AbstractSpace):
    r"""The flat space $\mathbb{R}^d$: every vector is tangent, every point is in it.

    !!! example

        `fm.Euclidean().distance(jnp.zeros(2), jnp.ones(2))`
    """

    def project(self, x: Point, v: Velocity) -> Velocity:
        return v

    def nearest(self, x: Point) -> Point:
        return x

    def exponential(self, x: Point, v: Velocity) -> Point:
        """The end of the straight line from `x` along `v`."""
        return jax.tree.map(jnp.add, x, v)

    def logarithm(self, x: Point, y: Point) -> Velocity:
        """The straight line from `x` to `y`, y − x."""
        return jax.tree.map(jnp.subtract, y, x)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        return safe_sqrt(self.squared_distance(x, y))

    def squared_distance(self, x: Point, y: Point) -> FloatScalar:
        """‖x − y‖², smooth also where x = y."""
        squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), x, y)
        return jax.tree.reduce(jnp.add, squares)

"""The flat torus, a box whose opposite faces are glued."""

import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Positive, Velocity
from .._numerics import safe_sqrt
from ._base import AbstractSpace


class Torus(AbstractSpace):
    r"""The flat torus $(\mathbb{R}/L\mathbb{Z})^d$, its points kept in $[0, L)$.

    **Arguments:** `length`: the period L of every axis; 1 by default, 2π for angles.
    """

    length: Positive = 1.0

    def project(self, x: Point, v: Velocity) -> Velocity:
        return v

    def nearest(self, x: Point) -> Point:
        return x - self.length * jnp.floor(x / self.length)

    def exponential(self, x: Point, v: Velocity) -> Point:
        """The end of the geodesic from `x` along `v`."""
        return self.nearest(x + v)

    def displacement(self, x: Point, y: Point) -> Velocity:
        """The shortest vector from `y` to `x`, each coordinate in [−L/2, L/2]."""
        z = x - y
        return z - self.length * jnp.round(z / self.length)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        return safe_sqrt(jnp.sum(self.displacement(x, y) ** 2))

"""The flat torus, a box whose opposite faces are glued."""

from collections.abc import Callable

import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, PositiveArray, Velocity
from .._numerics import safe_sqrt
from ._base import AbstractSpace


class Torus(AbstractSpace):
    r"""The flat torus $(\mathbb{R}/L\mathbb{Z})^d$, its points kept in $[0, L)$.

    **Arguments:** `length`: the period L of every axis; 1 by default, 2π for angles. One for each
    axis may be given, shape (d,), inf for an axis without end: a cylinder.

    !!! example

        `fm.Particles(mu.x, space=fm.Torus(1.0)).retract()`
    """

    length: PositiveArray = 1.0

    def project(self, x: Point, v: Velocity) -> Velocity:
        return v

    def nearest(self, x: Point) -> Point:
        return x - self._turns(x, jnp.floor)

    def exponential(self, x: Point, v: Velocity) -> Point:
        """The end of the geodesic from `x` along `v`."""
        return self.nearest(x + v)

    def displacement(self, x: Point, y: Point) -> Velocity:
        """The shortest vector from `y` to `x`, each coordinate in [−L/2, L/2]."""
        z = x - y
        return z - self._turns(z, jnp.round)

    def logarithm(self, x: Point, y: Point) -> Velocity:
        """The shortest vector from `x` to `y`; opposite points have two, and one is taken."""
        return self.displacement(y, x)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        return safe_sqrt(self.squared_distance(x, y))

    def squared_distance(self, x: Point, y: Point) -> FloatScalar:
        """The square of the distance, smooth also where x = y."""
        return jnp.sum(self.displacement(x, y) ** 2)

    def _turns(self, z: Velocity, whole: Callable) -> Velocity:
        """The whole periods in z; none on an axis without end."""
        if isinstance(self.length, float | int):
            return self.length * whole(z / self.length)
        length = jnp.asarray(self.length, z.dtype)
        closed = jnp.isfinite(length)
        length = jnp.where(closed, length, 1)
        return jnp.where(closed, length * whole(z / length), 0)

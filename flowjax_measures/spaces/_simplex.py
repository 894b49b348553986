"""The probability simplex in R^n."""

import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Velocity
from ._base import AbstractSpace
from ._euclidean import Euclidean


class Simplex(AbstractSpace):
    r"""Vectors p ≥ 0 with $\sum_i p_i = 1$; tangents are vectors of sum zero.

    `ProbabilityManifold` gives it the geometry of a Markov chain.

    !!! example

        `fm.Particles(jnp.full((4, 3), 1 / 3), space=fm.Simplex())`
    """

    def project(self, x: Point, v: Velocity) -> Velocity:
        return v - jnp.mean(v)

    def nearest(self, x: Point) -> Point:
        # max(x − c, 0) with the c for which it sums to one: of the k largest entries, the most
        # that stay positive.
        top = -jnp.sort(-x)
        shift = (jnp.cumsum(top) - 1) / jnp.arange(1, x.size + 1, dtype=x.dtype)
        last = jnp.sum(top > shift) - 1
        return jnp.maximum(x - shift[last], 0)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        return Euclidean().distance(x, y)

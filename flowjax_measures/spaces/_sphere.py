"""The unit sphere S^{d-1} in R^d."""

import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import safe_sqrt
from ._base import AbstractSpace


class Sphere(AbstractSpace):
    r"""The unit sphere $\|x\| = 1$ of $\mathbb{R}^d$; $P_x = I - xx^\top$ gives tangents."""

    def project(self, x: Point, v: Velocity) -> Velocity:
        return v - jnp.vdot(x, v) * x

    def nearest(self, x: Point) -> Point:
        return x / jnp.linalg.norm(x)

    def exponential(self, x: Point, v: Velocity) -> Point:
        """The end of the geodesic from `x` with the tangent `v`."""
        length = safe_sqrt(jnp.sum(v**2))
        return jnp.cos(length) * x + jnp.sinc(length / jnp.pi) * v

    def distance(self, x: Point, y: Point) -> FloatScalar:
        # arccos⟨x, y⟩ loses half of the digits at 0 and at π; the half-angle form loses none.
        return 2 * jnp.arctan2(safe_sqrt(jnp.sum((x - y) ** 2)), safe_sqrt(jnp.sum((x + y) ** 2)))

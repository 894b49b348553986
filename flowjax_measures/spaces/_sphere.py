"""The unit sphere S^{d-1} in R^d."""

import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import safe_sqrt
from ._base import AbstractSpace


class Sphere(AbstractSpace):
    r"""The unit sphere $\|x\| = 1$ of $\mathbb{R}^d$; $P_x = I - xx^\top$ gives tangents.

    !!! example

        `fm.Particles(tokens.x, space=fm.Sphere())`
    """

    def project(self, x: Point, v: Velocity) -> Velocity:
        return v - jnp.vdot(x, v) * x

    def nearest(self, x: Point) -> Point:
        return x / jnp.linalg.norm(x)

    def exponential(self, x: Point, v: Velocity) -> Point:
        """The end of the geodesic from `x` with the tangent `v`."""
        length = safe_sqrt(jnp.sum(v**2))
        return jnp.cos(length) * x + jnp.sinc(length / jnp.pi) * v

    def logarithm(self, x: Point, y: Point) -> Velocity:
        """The tangent at `x` of the shortest geodesic to `y`, of its length.

        NaN at the antipode, which all geodesics from `x` reach.
        """
        side = y - jnp.vdot(x, y) * x
        length = safe_sqrt(jnp.sum(side**2))
        # The side is sin θ long: near the antipode it is as short as near x, and means the reverse.
        angle = jnp.arctan2(length, jnp.vdot(x, y))
        apart = length > 0
        stretch = jnp.where(apart, angle / jnp.where(apart, length, 1), 1)
        return side * jnp.where(apart | (jnp.vdot(x, y) > 0), stretch, jnp.nan)

    def squared_distance(self, x: Point, y: Point) -> FloatScalar:
        """The square of the angle, smooth also where x = y."""
        chord = jnp.sum((x - y) ** 2)
        # θ² = c² (1 + c²/12 + c⁴/90 + …) of the chord c = 2 sin(θ/2): all digits for c² < 0.01.
        series = jnp.zeros_like(chord)
        for factor in (1 / 16632, 1 / 3150, 1 / 560, 1 / 90, 1 / 12, 1.0):
            series = series * chord + factor
        near = chord < 0.01
        far = self.distance(x, jnp.where(near, -x, y))
        return jnp.where(near, chord * series, far**2)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        # arccos⟨x, y⟩ loses half of the digits at 0 and at π; the half-angle form loses none.
        return 2 * jnp.arctan2(safe_sqrt(jnp.sum((x - y) ** 2)), safe_sqrt(jnp.sum((x + y) ** 2)))

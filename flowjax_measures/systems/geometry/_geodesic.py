r"""A geodesic in closed form: a line, or a circle in a magnetic field ([arnold1961]).

γ(t) = x + (sin st / s) v + ((1 − cos st)/s) Jv on the plane and the torus, J a quarter turn,
γ(t) = x turned about L = x × v + s x at the rate |L| = √(|v|² + s²) on S².
"""

import jax.numpy as jnp
import numpy as np

from ..._custom_types import FloatScalar, Point, Scalar
from ..._numerics import Checked
from ...spaces import Sphere
from ...spaces._base import AbstractSpace
from ._arcs import is_free, sine


class Geodesic(Checked):
    """A curve: `position(t)` from `start` with `velocity`, at its given end at `time`.

    !!! example

        `fm.geodesic_between(jnp.zeros(2), jnp.ones(2)).velocity`
    """

    start: Point
    velocity: Point
    time: FloatScalar
    field: Scalar
    space: AbstractSpace

    def position(self, t: FloatScalar) -> Point:
        """γ(t)."""
        t = jnp.asarray(t, self.velocity.dtype)
        if is_free(self.field):
            return self.space.exponential(  # pyright: ignore[reportAttributeAccessIssue]
                self.start, t * self.velocity
            )
        if isinstance(self.space, Sphere):
            axis = jnp.cross(self.start, self.velocity) + self.field * self.start
            rate = jnp.sqrt(self.velocity @ self.velocity + self.field**2)
            across, n = jnp.cross(axis, self.start), axis / rate
            along = (n @ self.start) * n
            return along + jnp.cos(rate * t) * (self.start - along) + sine(rate, t) * across
        turn = jnp.stack([-self.velocity[1], self.velocity[0]])
        bend = self.field * sine(self.field / 2, t) ** 2 / 2
        return self.space.nearest(self.start + sine(self.field, t) * self.velocity + bend * turn)

    @property
    def length(self) -> FloatScalar:
        """How long the curve is up to its given end."""
        return self.time * jnp.linalg.norm(self.velocity)

    @property
    def period(self) -> FloatScalar:
        """When it closes: 2π/√(|γ̇|² + s²) on S², 2π/|s| on flat space, where free ones do not.

        On a torus `geodesic_between(x, x, fm.Torus(), winding=(k, l), …)` is a free one that does.
        """
        square = jnp.sum(self.velocity**2) if isinstance(self.space, Sphere) else 0
        return 2 * np.pi / jnp.sqrt(square + jnp.asarray(self.field, self.velocity.dtype) ** 2)

"""A box with walls that reflect, hold or absorb."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import safe_sqrt
from ._base import AbstractSpace

_WALLS = ("reflect", "clip", "absorb")


class Box(AbstractSpace):
    r"""The box $[l, u]$ in $\mathbb{R}^d$, at whose walls points turn, stay, or end.

    With "reflect" a point that leaves is folded back, which is the law of reflected Brownian
    motion to order √dt; with "clip" it is put on the wall and may leave it again; with "absorb" it
    stays where it met the wall.

    **Arguments:** `lower`, `upper`: the walls, numbers or one for each axis; ±inf where there is
    none. `walls`: "reflect", "clip" or "absorb".

    !!! example

        `Particles(x, space=Box(0.0, 1.0, "reflect"))`
    """

    lower: ArrayLike = 0.0
    upper: ArrayLike = 1.0
    walls: str = eqx.field(static=True, default="reflect")

    def __check_init__(self):
        if self.walls not in _WALLS:
            raise ValueError(f"`walls` is {self.walls!r}; it is one of {_WALLS}.")
        if isinstance(self.lower, Tracer) or isinstance(self.upper, Tracer):
            return
        if np.any(np.asarray(self.upper) <= np.asarray(self.lower)):
            raise ValueError(
                f"`lower` is {self.lower} and `upper` {self.upper}; give lower < upper."
            )

    def _ends(self, x: Point):
        return jnp.asarray(self.lower, x.dtype), jnp.asarray(self.upper, x.dtype)

    def project(self, x: Point, v: Velocity) -> Velocity:
        if self.walls != "absorb":
            return v
        lower, upper = self._ends(x)
        return jnp.where(jnp.any((x <= lower) | (x >= upper)), jnp.zeros_like(v), v)

    def nearest(self, x: Point) -> Point:
        lower, upper = self._ends(x)
        if self.walls != "reflect":
            return jnp.clip(x, lower, upper)
        # A triangle wave of period 2(u − l); one wall alone is a mirror.
        both = jnp.isfinite(lower) & jnp.isfinite(upper)
        width = jnp.where(both, upper - lower, 1)
        start = jnp.where(both, lower, 0)
        turn = jnp.mod(x - start, 2 * width)
        folded = start + jnp.where(turn > width, 2 * width - turn, turn)
        low = jnp.where(jnp.isfinite(lower), lower, 0)
        high = jnp.where(jnp.isfinite(upper), upper, 0)
        mirrored = jnp.where(jnp.isfinite(lower), low + jnp.abs(x - low), high - jnp.abs(x - high))
        free = ~jnp.isfinite(lower) & ~jnp.isfinite(upper)
        return jnp.where(both, folded, jnp.where(free, x, mirrored))

    def exponential(self, x: Point, v: Velocity) -> Point:
        """The end of the straight line from `x` along `v`, which the walls turn or end."""
        return self.nearest(x + v)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        return safe_sqrt(jnp.sum((x - y) ** 2))

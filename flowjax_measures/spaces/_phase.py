"""Positions with momenta, for dynamics of second order."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Velocity
from ._base import AbstractSpace
from ._euclidean import Euclidean


class Phase(NamedTuple):
    """A point of phase space: position `q` and momentum `p`, of the same structure.

    !!! example

        `fm.Particles(fm.Phase(mu.x, jnp.zeros_like(mu.x)))`
    """

    q: Any
    p: Any


def of_kind(x: Point, kind: Any, name: str) -> Any:
    """The point, of a system by its name whose points are `Phase` or another named tuple.

    **Raises:** `ValueError` for any other point.
    """
    if isinstance(x, kind):
        return x
    form = f"{kind.__name__}({', '.join(kind._fields)})"
    raise ValueError(
        f"{name} moves points `{form}` and was given points that are "
        f"{_shown(x)}; run it from Particles({form})."
    )


def as_phase(x: Point, name: str) -> Phase:
    """A point as `Phase(q, p)` of a system by its name; points of a Gaussian are vectors (q, p).

    **Raises:** `ValueError` for any other point.
    """
    if isinstance(x, Phase):
        return x
    if getattr(x, "ndim", 0) != 1 or x.size % 2:
        raise ValueError(
            f"{name} was given points that are {_shown(x)}; give `Phase(q, p)`, "
            "or vectors (q, p) of even length."
        )
    return Phase(*jnp.split(x, 2))


def _shown(x: Point) -> str:
    return f"of shape {x.shape}" if hasattr(x, "shape") else f"a {type(x).__name__}"


class PhaseSpace(AbstractSpace):
    """The tangent bundle of a base space: `q` in the base, `p` tangent to the base at `q`.

    Needed only over a curved base; `Phase` points of flat space live in `Euclidean()`.

    !!! example

        `fm.PhaseSpace(fm.Sphere())`
    """

    base: AbstractSpace = Euclidean()

    def project(self, x: Point, v: Velocity) -> Velocity:
        # The derivative of `nearest`: p turns with the plane that it is in. A normal part of ṗ left
        # to `nearest` would act as a damping of the order of the step.
        return jax.jvp(self.nearest, (x,), (v,))[1]

    def nearest(self, x: Point) -> Point:
        q = self.base.nearest(x.q)
        return Phase(q, self.base.project(q, x.p))

    def distance(self, x: Point, y: Point) -> FloatScalar:
        """The distance of the positions."""
        return self.base.distance(x.q, y.q)

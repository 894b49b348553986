"""Positions with momenta, for dynamics of second order."""

from typing import Any, NamedTuple

import jax

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


def check_phase(x: Point, system: Any) -> None:
    """Raises where a system of positions and momenta is given other points."""
    if not isinstance(x, Phase):
        raise ValueError(
            f"{type(system).__name__} moves points `Phase(q, p)` and was given points that are "
            f"{getattr(x, 'shape', type(x).__name__)}; run it from Particles(Phase(q, p))."
        )


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

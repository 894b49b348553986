"""What a space of points must know: its tangents, and the nearest of its points."""

import abc

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import Checked


class AbstractSpace(Checked):
    """A space in which points live, given inside an ambient vector space.

    Geometry acts through three maps of one point: `project` makes an ambient vector tangent,
    `nearest` brings an ambient point back, `distance` measures. Where geodesics have a closed form
    there are `exponential(x, v)`, the end of the one from x with the tangent v, and its inverse
    `logarithm(x, y)`; and `squared_distance(x, y)`, where it is smoother than the square of
    `distance`.
    """

    @abc.abstractmethod
    def project(self, x: Point, v: Velocity) -> Velocity:
        """Orthogonal projection of the ambient vector `v` onto the tangent space at `x`."""

    @abc.abstractmethod
    def nearest(self, x: Point) -> Point:
        """The point of the space that is nearest to the ambient point `x`."""

    @abc.abstractmethod
    def distance(self, x: Point, y: Point) -> FloatScalar:
        """The geodesic distance between two points."""


def squared_distance(space: AbstractSpace, x: Point, y: Point) -> FloatScalar:
    """The square of the distance, by the space's own smooth form where it has one."""
    smooth = getattr(space, "squared_distance", None)
    return space.distance(x, y) ** 2 if smooth is None else smooth(x, y)

"""Metrics: what turns the first variation of an energy into a motion of points and weights."""

import abc
from typing import Any, ClassVar

from .._custom_types import Point
from .._numerics import Checked
from ..energies import AbstractEnergy
from ..measures import Rates


class AbstractMetric(Checked):
    """A geometry on measures, given by its gradient flow of one point."""

    for_example: ClassVar[str] = ", such as Wasserstein()"

    @abc.abstractmethod
    def rates(self, energy: AbstractEnergy, x: Point, mu: Any) -> Rates:
        """Velocity, noise and growth of the point `x` in the gradient flow of `energy`."""

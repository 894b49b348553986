"""Measures: the type of the initial one chooses the discretisation of a system."""

from ._base import (
    AbstractMeasure as AbstractMeasure,
    Increment as Increment,
    Rates as Rates,
    place as place,
)
from ._gaussian import Gaussian as Gaussian
from ._grid import GridDensity as GridDensity
from ._particles import Particles as Particles

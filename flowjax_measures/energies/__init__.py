"""Functionals of a measure."""

from ._base import (
    AbstractEnergy as AbstractEnergy,
    AbstractTransportEnergy as AbstractTransportEnergy,
)

"""Functionals of a measure."""

from ._base import (
    AbstractEnergy as AbstractEnergy,
    AbstractTransportEnergy as AbstractTransportEnergy,
)
from ._sinkhorn import SinkhornDivergence as SinkhornDivergence

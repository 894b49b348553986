"""Geometries on measures."""

from ._base import AbstractMetric as AbstractMetric
from ._fisher_rao import FisherRao as FisherRao, WassersteinFisherRao as WassersteinFisherRao
from ._mirror import Mirror as Mirror, WassersteinMirror as WassersteinMirror
from ._preconditioned import (
    DualPreconditioned as DualPreconditioned,
    KalmanWasserstein as KalmanWasserstein,
    Preconditioned as Preconditioned,
)
from ._stein import RegularizedStein as RegularizedStein, Stein as Stein
from ._wasserstein import Wasserstein as Wasserstein

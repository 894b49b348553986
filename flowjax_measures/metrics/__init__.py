"""Geometries on measures."""

from ._base import AbstractMetric as AbstractMetric
from ._wasserstein import Wasserstein as Wasserstein

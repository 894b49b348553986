"""Spaces in which points live: tangents and nearest points."""

from ._base import AbstractSpace as AbstractSpace
from ._box import Box as Box
from ._bures import Bures as Bures
from ._euclidean import Euclidean as Euclidean
from ._phase import Phase as Phase, PhaseSpace as PhaseSpace
from ._probability_manifold import (
    ProbabilityManifold as ProbabilityManifold,
    logarithmic_mean as logarithmic_mean,
)
from ._product import Product as Product
from ._simplex import Simplex as Simplex
from ._sphere import Sphere as Sphere
from ._stiefel import Stiefel as Stiefel
from ._torus import Torus as Torus

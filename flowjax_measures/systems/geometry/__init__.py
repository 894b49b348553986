"""Equations of geometry: fluids, graphs, Markov chains, mechanics."""

from ._epdiff import EPDiff as EPDiff
from ._euler_arnold import EulerArnold as EulerArnold
from ._euler_lagrange import EulerLagrange as EulerLagrange
from ._laplace_learning import (
    LaplaceLearning as LaplaceLearning,
    harmonic_extension as harmonic_extension,
    path_metric as path_metric,
)
from ._magnetic_geodesic import MagneticGeodesic as MagneticGeodesic
from ._simplex_flow import SimplexFlow as SimplexFlow
from ._thin_film import (
    ThinFilm as ThinFilm,
    entropic_mobility as entropic_mobility,
    flat_mobility as flat_mobility,
)

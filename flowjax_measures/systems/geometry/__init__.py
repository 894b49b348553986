"""Equations of geometry: fluids, graphs, Markov chains, mechanics."""

from ._epdiff import EPDiff as EPDiff
from ._euler_2d import Euler2D as Euler2D
from ._euler_arnold import EulerArnold as EulerArnold
from ._euler_lagrange import EulerLagrange as EulerLagrange
from ._generic import Degeneracies as Degeneracies, Generic as Generic
from ._geodesic import Geodesic as Geodesic
from ._geodesic_between import geodesic_between as geodesic_between
from ._hunter_saxton import TwoComponentHunterSaxton as TwoComponentHunterSaxton
from ._infinite_conductivity import InfiniteConductivity as InfiniteConductivity
from ._laplace_learning import (
    LaplaceLearning as LaplaceLearning,
    harmonic_extension as harmonic_extension,
)
from ._magnetic_epdiff import MagneticEPDiff as MagneticEPDiff
from ._magnetic_geodesic import MagneticGeodesic as MagneticGeodesic
from ._path_metric import path_metric as path_metric
from ._quasi_geostrophic import (
    QuasiGeostrophic as QuasiGeostrophic,
    sphere_grid as sphere_grid,
)
from ._simplex_flow import SimplexFlow as SimplexFlow
from ._thin_film import (
    ThinFilm as ThinFilm,
    entropic_mobility as entropic_mobility,
    flat_mobility as flat_mobility,
)

"""What shakes the points: linear maps from Brownian motions, and the normals that drive them."""

from ._noise import (
    AbstractNoise as AbstractNoise,
    Common as Common,
    Covariance as Covariance,
    Cylindrical as Cylindrical,
    Dense as Dense,
    Diagonal as Diagonal,
    Isotropic as Isotropic,
    NoiseField as NoiseField,
    NoiseSum as NoiseSum,
    floating as floating,
    parts as parts,
    standard_normal as standard_normal,
)
from ._normal_pairs import apart as apart, pairs_of_each as pairs_of_each

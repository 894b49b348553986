"""Potentials of one point and kernels of two points."""

from ._base import (
    AbstractExponentialKernel as AbstractExponentialKernel,
    AbstractKernel as AbstractKernel,
)
from ._cosine import (
    CosineKernel as CosineKernel,
    fourier_kernel as fourier_kernel,
    random_fourier_kernel as random_fourier_kernel,
)
from ._invariant import (
    InvariantKernel as InvariantKernel,
    cyclic_group as cyclic_group,
    invariant_dimension as invariant_dimension,
)
from ._matern import Matern as Matern
from ._median import MedianKernel as MedianKernel
from ._piecewise_linear import PiecewiseLinear as PiecewiseLinear
from ._quadratic import Quadratic as Quadratic, QuadraticKernel as QuadraticKernel
from ._radial import (
    CountingKernel as CountingKernel,
    EnergyDistance as EnergyDistance,
    GaussianKernel as GaussianKernel,
    InverseMultiquadric as InverseMultiquadric,
    LaplaceKernel as LaplaceKernel,
    LinearKernel as LinearKernel,
    RieszKernel as RieszKernel,
)
from ._screened_poisson import ScreenedPoisson as ScreenedPoisson
from ._sliced import SlicedEnergyDistance as SlicedEnergyDistance
from ._sliced_riesz import SlicedRieszKernel as SlicedRieszKernel
from ._transformed import MatrixKernel as MatrixKernel

"""Distances between measures that have energies: sliced, entropic, of kernels."""

from collections.abc import Callable

from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Point, Scalar
from .._numerics import safe_sqrt
from ..energies import MMD, KernelSteinDiscrepancy, SinkhornDivergence, SlicedWasserstein
from ..kernels import EnergyDistance, InverseMultiquadric
from ..kernels._base import Kernel
from ..measures import AbstractMeasure
from ._masses import check_masses


def sliced_wasserstein(
    mu: AbstractMeasure, nu: AbstractMeasure, directions: Float[Array, "k d"] | None = None
) -> FloatScalar:
    """The sliced distance SW₂, the root of the mean of W₂² over `directions`.

    `None` is exact on the line and 64 angles in the plane; see `SlicedWasserstein`.
    """
    check_masses(mu, nu)
    return safe_sqrt(2 * SlicedWasserstein(nu, directions)(mu))


def sinkhorn_divergence(mu: AbstractMeasure, nu: AbstractMeasure, epsilon: Scalar) -> FloatScalar:
    """The Sinkhorn divergence S_ε(μ, ν) with cost ‖x − y‖²; see `SinkhornDivergence`."""
    check_masses(mu, nu)
    return SinkhornDivergence(nu, epsilon)(mu)


def mmd(mu: AbstractMeasure, nu: AbstractMeasure, kernel: Kernel) -> FloatScalar:
    """The maximum mean discrepancy, the root of ∬ k d(μ−ν) d(μ−ν)."""
    return safe_sqrt(2 * MMD(nu, kernel)(mu))


def energy_distance(mu: AbstractMeasure, nu: AbstractMeasure) -> FloatScalar:
    """2 E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖, with X, X′ of μ and Y, Y′ of ν independent."""
    return 2 * MMD(nu, EnergyDistance())(mu)


def ksd(
    mu: AbstractMeasure,
    potential: Callable[[Point], FloatScalar],
    kernel: Kernel = InverseMultiquadric(),
) -> FloatScalar:
    """The kernel Stein discrepancy of `mu` to e^{−V}, the root of ∬ u_V dμ dμ."""
    return safe_sqrt(2 * KernelSteinDiscrepancy(potential, kernel)(mu))

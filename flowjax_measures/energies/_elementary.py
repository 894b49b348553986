r"""Energies of a potential and of an interaction.

∫ V dμ,   ½ ∬ K dμ dμ.
"""

from collections.abc import Callable

import jax

from .._custom_types import FloatScalar, Point
from ..kernels._base import Kernel, convolve, correlate, mass, slope
from ._base import AbstractEnergy, AbstractTransportEnergy
from ._ground import on_measure


class PotentialEnergy(AbstractTransportEnergy):
    """∫ V dμ with δF/δμ = V; `potential` is V. The flow is ẋ = −∇V(x).

    !!! example

        `fm.PotentialEnergy(f)(mu)`
    """

    potential: Callable[[Point], FloatScalar]

    def __call__(self, mu):
        return mass(mu) * mu.mean(self.potential)

    def first_variation(self, x, mu):
        return self.potential(x)


class InteractionEnergy(AbstractEnergy):
    """½ ∬ K dμ dμ with δF/δμ = K∗μ; `kernel` is K, symmetric. The flow is ẋ = −∇(K∗μ)(x).

    All pairs count, a particle with itself included. A kernel of the library takes the distance of
    the space of μ, or is refused there; a function of two points is taken as it is.

    !!! example

        `fm.InteractionEnergy(fm.GaussianKernel(1.0))(mu)`
    """

    kernel: Kernel

    def __call__(self, mu):
        return mass(mu) ** 2 * correlate(on_measure(self.kernel, mu), mu, mu) / 2

    def first_variation(self, x, mu):
        return mass(mu) * convolve(on_measure(self.kernel, mu), x, mu)

    def velocity(self, x, mu):
        return jax.tree.map(lambda v: -mass(mu) * v, slope(on_measure(self.kernel, mu), x, mu))

    def diffusivity(self, x, mu):
        return None

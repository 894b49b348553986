r"""The Wasserstein metric: points move down the gradient of the first variation."""

from .._numerics import noise_size
from ..measures import Rates
from ..noise._noise import Isotropic
from ._base import AbstractMetric


class Wasserstein(AbstractMetric):
    r"""∂_t μ = ∇·(μ ∇ δF/δμ): velocity −∇ δF/δμ, and noise √(2D) where the energy diffuses."""

    def rates(self, energy, x, mu):
        diffusivity = energy.diffusivity(x, mu)
        noise = None if diffusivity is None else Isotropic(noise_size(2 * diffusivity))
        return Rates(energy.velocity(x, mu), noise)

r"""Fisher–Rao and Wasserstein–Fisher–Rao: masses grow where the energy falls.

    ∂_t μ = α ∇·(μ ∇δF/δμ) − β μ (δF/δμ − ∫ δF/δμ dμ)

The mass is kept: this is the spherical Hellinger–Kantorovich geometry ([liero2018]). From
particles weights grow, from a `Gaussian` the flow of `KL` is the projected system with
Λ = E∇²V:

    ṁ = −(α + β Σ) E∇V,   Σ̇ = α (2I − ΛΣ − ΣΛ) + β (Σ − ΣΛΣ).
"""

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, NonNegative
from .._numerics import noise_size
from ..measures import Rates
from ..noise._noise import Isotropic, floating
from ._base import AbstractMetric


class FisherRao(AbstractMetric):
    """Points stay and weights grow: ∂_t μ = −μ (δF/δμ − ∫ δF/δμ dμ).

    !!! example

        `fm.GradientFlow(fm.PotentialEnergy(f), fm.FisherRao())`
    """

    def rates(self, energy, x, mu):
        still = jax.tree.map(jnp.zeros_like, floating(x))
        return Rates(still, growth=_excess(energy, x, mu))


class WassersteinFisherRao(AbstractMetric):
    """Transport and growth together.

    **Arguments:** `alpha`: the speed α of transport. `beta`: the speed β of growth.

    !!! example

        `fm.GradientFlow(fm.PotentialEnergy(f), fm.WassersteinFisherRao())`
    """

    alpha: NonNegative = 1.0
    beta: NonNegative = 1.0

    def rates(self, energy, x, mu):
        velocity = jax.tree.map(lambda v: self.alpha * v, energy.velocity(x, mu))
        diffusivity = energy.diffusivity(x, mu)
        noise = None
        if diffusivity is not None:
            noise = Isotropic(noise_size(2 * self.alpha * diffusivity))
        return Rates(velocity, noise, self.beta * _excess(energy, x, mu))


def _excess(energy, x, mu) -> FloatScalar:
    """∫ δF/δμ dμ − δF/δμ(x)."""
    return mu.mean(lambda y: energy.first_variation(y, mu)) - energy.first_variation(x, mu)

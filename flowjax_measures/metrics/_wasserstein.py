r"""The Wasserstein metric: points move down the gradient of the first variation."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._numerics import noise_size
from ..measures import Rates
from ..noise._noise import Isotropic
from ._base import AbstractMetric


class Wasserstein(AbstractMetric):
    r"""∂_t μ = ∇·(μ ∇ δF/δμ): velocity −∇ δF/δμ, and noise √(2D) where the energy diffuses.

    **Arguments:** `noise`: False follows −∇δF/δμ whole, the probability flow: the same laws without
    noise, and points that are carried by a map. It needs a density: exact from a `Gaussian`, a
    kernel's from particles.

    !!! example

        `fm.GradientFlow(fm.KL(V), fm.Wasserstein(noise=False))` from a `Gaussian`; its
        `rates(t, x, mu).velocity` is −∇V − ∇log ρ.
    """

    noise: bool = eqx.field(static=True, default=True)

    def rates(self, energy, x, mu):
        diffusivity = energy.diffusivity(x, mu)
        if diffusivity is None:
            return Rates(energy.velocity(x, mu))
        if not self.noise:
            slope = eqx.filter_grad(energy.first_variation)(x, mu)
            return Rates(jax.tree.map(jnp.negative, slope))
        return Rates(energy.velocity(x, mu), Isotropic(noise_size(2 * diffusivity)))

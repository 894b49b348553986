r"""Divergences to an unnormalised target e^{−V}, known up to its constant log Z = log ∫ e^{−V}.

    KL       ∫ log(ρ/e^{−V}) dμ                      flow ∂_t ρ = Δρ + ∇·(ρ∇V)
    Renyi    log ∫ (ρ/e^{−V})^{a−1} dμ / (a − 1)

Both are the divergence less log Z.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Positive
from ..kernels._base import constant, mass
from ..kernels._radial import DensityKernel
from ..measures._base import concrete
from ._base import AbstractEnergy
from ._density import log_density
from ._internal import Entropy


class KL(AbstractEnergy):
    r"""KL(μ | e^{−V}/Z) − log Z = ∫ ρ log ρ dx + ∫ V dμ; δF/δμ = log ρ + V + 1.

    From particles its Wasserstein flow is Langevin's equation dX = −∇V dt + √2 dW.

    **Arguments:** `potential`: V. `kernel`: estimates ρ from particles, where a value or a growth
    needs it.

    !!! example

        `fm.simulate(fm.GradientFlow(fm.KL(f)), mu, [0.0, 0.1], dt=0.01, key=key)`
    """

    potential: Callable[[Point], FloatScalar]
    kernel: DensityKernel | None = None

    def __call__(self, mu):
        return Entropy(self.kernel)(mu) + mass(mu) * mu.mean(self.potential)

    def first_variation(self, x, mu):
        return log_density(x, mu, self.kernel) + self.potential(x) + 1

    def velocity(self, x, mu):
        return jax.tree.map(jnp.negative, eqx.filter_grad(self.potential)(x))

    def diffusivity(self, x, mu):
        return constant(x, 1.0)


class Renyi(AbstractEnergy):
    r"""The Rényi divergence of order a: F = log ∫ u dμ / (a − 1), u = (ρ e^V)^{a−1}.

        δF/δμ = a/(a − 1) ū,   ∇·(ρ∇δF/δμ) = ∇·(ρ ū ∇V) + Δ(ū ρ),   ū = u / ∫ u dμ

    It tends to `KL` as a → 1.

    **Arguments:** `potential`: V. `order`: a > 0, not 1. `kernel`: as in `KL`.

    !!! example

        `fm.Renyi(f, 2.0, fm.GaussianKernel(0.5))(mu)`
    """

    potential: Callable[[Point], FloatScalar]
    order: Positive = 2.0
    kernel: DensityKernel | None = None

    def __check_init__(self):
        if concrete(self.order) and self.order == 1:
            raise ValueError("`order` is 1; take `KL`, which is its limit.")

    def _log_ratio(self, x, mu):
        log_ratio = log_density(x, mu, self.kernel) + self.potential(x)
        return (self.order - 1) * log_ratio

    def __call__(self, mu):
        return mu.logmean(lambda x: self._log_ratio(x, mu)) / (self.order - 1)

    def first_variation(self, x, mu):
        return self.order / (self.order - 1) * self.diffusivity(x, mu)

    def velocity(self, x, mu):
        share = self.diffusivity(x, mu)
        return jax.tree.map(lambda g: -share * g, eqx.filter_grad(self.potential)(x))

    def diffusivity(self, x, mu):
        normaliser = mu.logmean(lambda y: self._log_ratio(y, mu))
        return jnp.exp(self._log_ratio(x, mu) - normaliser)

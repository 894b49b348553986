r"""Mixtures of Gaussians against an unnormalised target e^{−V} ([lambert2022]).

    F(ν) = KL(p_ν | e^{−V}/Z) − log Z,   p_ν = ∫ N(m, Σ) ν(dm, dΣ)
    δF/δν(m, Σ) = E[log p_ν(Y) + V(Y)],  Y ~ N(m, Σ)
    ṁ = −E∇(log p_ν + V),   Σ̇ = −HΣ − ΣH,   H = E∇²(log p_ν + V)

ν is a measure on Gaussians, the Bures–Wasserstein space: its flow is variational inference. With
one component it is the closure of Langevin's equation.
"""

from collections.abc import Callable

import equinox as eqx
import jax

from .._custom_types import FloatScalar, Point
from .._numerics._cubature import expect
from ..spaces import Bures
from ._base import AbstractEnergy


class GaussianMixtureKL(AbstractEnergy):
    """KL of a mixture, the components of which are the points of a measure, to a target.

    From `Particles(jax.vmap(Gaussian)(m, cov), space=Bures())`. Expectations are cubatures of each
    component, and their gradients move it. In the metric `WassersteinFisherRao` weights move too.

    **Arguments:** `potential`: V, of a point of R^d.

    !!! example

        `fm.GradientFlow(fm.GaussianMixtureKL(f))`, of particles that live on `Bures()`
    """

    potential: Callable[[Point], FloatScalar]

    def __call__(self, mu):
        return mu.mean(lambda g: self.first_variation(g, mu))

    def first_variation(self, x, mu):
        excess = lambda y: mu.logmean(lambda g: g.log_density(y)) + self.potential(y)  # noqa: E731
        return expect(excess, x.m, x.cov)

    def velocity(self, x, mu):
        slope = eqx.filter_grad(self.first_variation)(x, mu)
        return jax.tree.map(lambda v: -v, Bures().gradient(x, slope))

    def diffusivity(self, x, mu):
        return None

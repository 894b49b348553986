r"""The Sinkhorn relative entropy: an entropy of scale ε that atoms have.

    F(μ) = ∫ V dμ − OT_ε(μ, μ) / ε,   δF/δμ = V − (2/ε) f_{μμ}

−(2/ε) ∇f_{μμ} tends to ∇ log ρ as ε → 0. With cost ‖x−y‖² and λ_min ≤ ∇²V ≤ λ_max everything
collapses to the minimum of V when ε > 4/λ_min, and nothing does when ε < 4/λ_max.
"""

from collections.abc import Callable

import jax.numpy as jnp

from .._custom_types import FloatScalar, Point, Positive
from ..kernels._base import mass
from ..measures import Gaussian
from ._base import AbstractTransportEnergy
from ._entropic_cost import extended, self_potential, self_value, spread_alike
from ._ground import flat, is_flat, located, space_of, square
from ._sinkhorn import _gaussian_cost, _self_slope


class SinkhornRelativeEntropy(AbstractTransportEnergy):
    r"""∫ V dμ − OT_ε(μ, μ)/ε, an approximation of `KL` whose flow is deterministic.

    Closed form from a `Gaussian`, where OT_ε(μ, μ) has one. Of a measure that is no law it is that
    of the law, times the mass.

    **Arguments:** `potential`: V. `epsilon`: ε > 0, in the units of ‖x − y‖².

    !!! example

        `fm.SinkhornRelativeEntropy(f, 0.1)`
    """

    potential: Callable[[Point], FloatScalar]
    epsilon: Positive

    def __call__(self, mu):
        if isinstance(mu, Gaussian):
            cost = _gaussian_cost(mu, mu, self.epsilon)
        else:
            cost = self_value(mu, jnp.asarray(self.epsilon, mu.atoms()[1].dtype))
        return mass(mu) * (mu.mean(self.potential) - cost / self.epsilon)

    def first_variation(self, x, mu):
        if isinstance(mu, Gaussian):
            z = x - mu.m
            potential = jnp.vdot(z, z - _self_slope(mu.cov, self.epsilon) @ z)
        else:
            space = space_of(mu)
            points, log_a = located(mu, space)
            epsilon = jnp.asarray(self.epsilon, log_a.dtype)
            own = self_potential(mu, epsilon)
            here = flat(x) if is_flat(space) else x
            potential = extended(
                square(space), here, points, log_a, own, epsilon, spread_alike(mu, mu)
            )
        return self.potential(x) - 2 / self.epsilon * potential

r"""Mirror flows: gradients in the metric of a Hessian.

    ∂_t μ = ∇·(μ (∇²u)⁻¹ ∇δF/δμ),   that is  d/dt ∇u(X) = −∇δF/δμ(X)

with a given u, or with ∇u = ∇u_μ the optimal map from μ to a reference ν, the mirror coordinate of
U(μ) = ½W₂²(μ, ν): the Wasserstein mirror flow ([deb2023]). That of `KL` is the Sinkhorn flow, the
limit of Sinkhorn's iterations k = t/ε as ε → 0, in which u solves the parabolic Monge–Ampère
equation ∂_t u = f − g(∇u) + log det ∇²u for F = KL(· | e^{−f}) and ν = e^{−g}.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Point
from ..energies._bures import bures_map, known_singular
from ..measures import Gaussian, Rates
from ..noise._noise import Covariance
from ._base import AbstractMetric


class Mirror(AbstractMetric):
    r"""The Wasserstein metric over the Hessian metric of a convex function u.

    Points of a `PotentialEnergy` follow mirror descent in continuous time; where an energy
    diffuses with D the flow is mirror Langevin, in Itô's calculus with A = (∇²u)⁻¹

        dX = (A v + D ∇·A) dt + √(2D) A^{1/2} dW.

    **Arguments:** `potential`: u, strictly convex where the points are; elsewhere velocities are
    NaN, and a run that goes there fails.

    !!! example

        `fm.GradientFlow(fm.PotentialEnergy(f), fm.Mirror(lambda x: jnp.sum(jnp.cosh(x))))`
    """

    potential: Callable[[Point], FloatScalar]

    def rates(self, energy, x, mu):
        def inverse(y):
            hessian = jax.hessian(self.potential)(y)
            # Beyond where u is convex there is no metric, and the flow has ended.
            convex = jnp.linalg.eigvalsh(jax.lax.stop_gradient(hessian))[0] > 0
            return jnp.where(convex, jnp.linalg.inv(hessian), jnp.nan)

        matrix, diffusivity = inverse(x), energy.diffusivity(x, mu)
        velocity = matrix @ energy.velocity(x, mu)
        if diffusivity is None:
            return Rates(velocity)
        bend = jnp.trace(jax.jacfwd(inverse)(x), axis1=1, axis2=2)
        return Rates(velocity + diffusivity * bend, Covariance(2 * diffusivity * matrix))


class WassersteinMirror(AbstractMetric):
    r"""The mirror metric of ½W₂²(·, reference), from a `Gaussian`, where ∇²u is a matrix.

    The flow of the entropy from N(0, I) = ν is N(0, (1 + t)² I). On a torus, where densities are
    not Gaussian, the Sinkhorn flow is `ParabolicMongeAmpere`.

    **Arguments:** `reference`: ν, a non-singular `Gaussian`.

    !!! example

        `fm.WassersteinMirror(fm.Gaussian(jnp.zeros(2), jnp.eye(2)))`
    """

    reference: Gaussian

    def __check_init__(self):
        if known_singular(self.reference.cov):
            raise ValueError("`reference` is singular: no map sends it to all measures.")

    def rates(self, energy, x, mu):
        if not isinstance(mu, Gaussian):
            raise ValueError(
                f"WassersteinMirror was given {type(mu).__name__}; it moves Gaussians. For "
                "densities on a torus run ParabolicMongeAmpere."
            )
        matrix, diffusivity = bures_map(self.reference, mu), energy.diffusivity(x, mu)
        noise = None if diffusivity is None else Covariance(2 * diffusivity * matrix)
        return Rates(matrix @ energy.velocity(x, mu), noise)

r"""A generator that learns to move its points along a drift ([deng2026]).

min_θ E‖G_θ(z) − sg(G_θ(z) + h v[μ_θ](G_θ(z)))‖²,   μ_θ the law of G_θ(z), sg a fixed value
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Scalar
from ..._numerics import checked
from ..._system import AbstractMeanField
from ...measures import Particles


@checked
def drifting_loss(
    generator: Callable[[Array], Array],
    drift: AbstractMeanField,
    latents: Float[Array, "n k"],
    step: Scalar = 1.0,
) -> FloatScalar:
    r"""The mean of ‖G(z) − (G(z) + h v[μ](G(z)))‖², its second term fixed ([deng2026]).

    μ is the law of the generated points G(z); v is the velocity of `drift`, such as a
    `DriftingFlow` or a `GradientFlow`. Descent moves G(z) along v.

    **Arguments:** `generator`: G of one latent. `latents`: fresh draws z. `step`: h.

    !!! example

        `fm.drifting_loss(lambda z: z, fm.DriftingFlow(nu), jr.normal(key, (8, 2)))`
    """
    points = jax.vmap(generator)(latents)
    still = jax.lax.stop_gradient(points)
    mu = Particles(still)
    moved = jax.vmap(lambda x: x + step * drift.rates(0.0, x, mu).velocity)(still)
    return jnp.mean(jnp.sum((points - jax.lax.stop_gradient(moved)) ** 2, axis=1))

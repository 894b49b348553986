r"""Ensemble Kalman sampler ([garbuno2020]), and its affine invariant form ([nusken2019]).

    dX = −C^{uG} Γ⁻¹ (G(X) − y) dt − C Γ₀⁻¹ (X − m₀) dt + √(2C) dW  (+ (d + 1)/N (X − ⟨X⟩) dt)

For G linear it is Langevin's equation for the posterior e^{−Φ}, preconditioned by the covariance
C: dX = −C ∇Φ dt + √(2C) dW. Itô.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, Int

from ..._custom_types import Point
from ..._numerics import given
from ..._numerics._matrix import square_root
from ..._system import AbstractMeanField
from ...measures import Particles, Rates
from ...noise._noise import Dense, floating
from ._ensemble import (
    check_covariance,
    check_data,
    covariance_matrix,
    failed,
    finite,
    finite_size_drift,
    misfit,
    moments,
    moved_where_run,
)  # fmt: skip


class EnsembleKalmanSampler(AbstractMeanField):
    r"""Samples the posterior of y = G(u) + N(0, Γ) under the prior N(m₀, Γ₀), without ∇G.

    For G(u) = Au and P = AᵀΓ⁻¹A + Γ₀⁻¹ the covariance obeys Ċ = −2CPC + 2C, solved by
    C(t)⁻¹ = P + e^{−2t}(C(0)⁻¹ − P): the posterior is the steady state, reached at a rate that
    doesn't depend on it. For other G what is sampled is biased by the linearisation.

    **Arguments:**

    - `forward`: the model G, a function of one point to an array of m numbers.
    - `data`: y, shape (m,).
    - `noise_cov`: Γ, shape (m, m); or m variances; or one.
    - `prior_mean`: m₀, a point.
    - `prior_cov`: Γ₀, shape (d, d); or d variances; or one.
    - `finite_size`: whether N equally weighted particles get the drift (d + 1)/N (X − ⟨X⟩), with
      which N > d + 1 of them sample the posterior of a linear model exactly (ALDI).

    !!! example

        ```python
        fm.simulate(
            fm.EnsembleKalmanSampler(
                jnp.sin, jnp.zeros(2), jnp.eye(2), jnp.zeros(2), jnp.eye(2)
            ),
            mu,
            [0.0, 0.1],
            dt=0.01,
            key=key,
        )
        ```
    """

    forward: Callable[[Point], Any]
    data: Float[Array, "..."] = eqx.field(converter=partial(given, "data"))
    noise_cov: ArrayLike = eqx.field(converter=partial(given, "noise_cov"))
    prior_mean: Point
    prior_cov: ArrayLike = eqx.field(converter=partial(given, "prior_cov"))
    finite_size: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_data(self.data, self.noise_cov)
        check_covariance("prior_cov", self.prior_cov)

    def failed(self, mu: Particles) -> Int[Array, ""]:
        """How many members of `mu` the model does not run for."""
        return failed(mu, self.forward)

    def rates(self, t, x, mu):
        here, unravel = ravel_pytree(floating(x))
        centre = ravel_pytree(floating(self.prior_mean))[0]
        noise_cov = covariance_matrix(self.noise_cov, self.data.size, "noise_cov")
        prior_cov = covariance_matrix(self.prior_cov, here.size, "prior_cov")
        cross = moments(mu, self.forward).cross
        cov = mu.covariance()
        image = jnp.ravel(self.forward(x))
        gap = finite(misfit(image, self.data))
        velocity = -cross @ jnp.linalg.solve(noise_cov, gap)
        velocity = velocity - cov @ jnp.linalg.solve(prior_cov, here - centre)
        if self.finite_size:
            velocity = velocity + finite_size_drift(here, mu)
        velocity = moved_where_run(image, velocity)
        return Rates(unravel(velocity), Dense(2**0.5 * square_root(cov)))

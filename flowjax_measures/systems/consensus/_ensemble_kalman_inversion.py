r"""Ensemble Kalman inversion ([schillings2017]): fit data y by a model G without its derivative.

    dX = −C^{uG} Γ⁻¹ (G(X) − y) dt                              (optimization)
    dX = −C^{uG} Γ⁻¹ (G(X) − y) dt + C^{uG} Γ^{−1/2} dW         (stochastic)
    dX = −C^{uG} Γ⁻¹ (½G(X) + ½⟨G⟩ − y) dt                      (square_root)

C^{uG} is the covariance of points and images; for G linear it is C Gᵀ, and the first is the
gradient flow of ½|Γ^{−1/2}(G(x) − y)|² preconditioned by C. Itô.
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
from ..._numerics._cubature import factor
from ..._system import AbstractMeanField
from ...measures import Particles, Rates
from ...noise._noise import Dense, floating
from ._ensemble import (
    check_data,
    covariance_matrix,
    failed,
    finite,
    misfit,
    moments,
    moved_where_run,
)  # fmt: skip


class EnsembleKalmanInversion(AbstractMeanField):
    r"""Ensemble Kalman inversion of y = G(u) + N(0, Γ).

    For G(u) = Au and B = AᵀΓ⁻¹A, exactly from a `Gaussian` and up to O(N^{−1/2}) from particles,
    C(t)⁻¹ = C(0)⁻¹ + 2tB ("optimization") or C(0)⁻¹ + tB (the two others), which at t = 1 hold the
    posterior mean and covariance of the prior they started from. Points never leave the affine span
    of the first ones. Members of particles for which
    the model returns NaN or inf are left out of the means, and stand still.

    **Arguments:**

    - `forward`: the model G, a function of one point to an array of m numbers.
    - `data`: y, shape (m,).
    - `noise_cov`: Γ, shape (m, m); or m variances; or one.
    - `form`: "optimization", "stochastic" or "square_root".

    !!! example

        ```python
        fm.simulate(
            fm.EnsembleKalmanInversion(jnp.sin, jnp.zeros(2), jnp.eye(2)),
            mu,
            [0.0, 1.0],
            dt=0.1,
            key=key,
        )
        ```
    """

    forward: Callable[[Point], Any]
    data: Float[Array, "..."] = eqx.field(converter=partial(given, "data"))
    noise_cov: ArrayLike = eqx.field(converter=partial(given, "noise_cov"))
    form: str = eqx.field(static=True, default="optimization")

    def __check_init__(self):
        if self.form not in ("optimization", "stochastic", "square_root"):
            raise ValueError(
                f'`form` is {self.form!r}; it is "optimization", "stochastic" or "square_root".'
            )
        check_data(self.data, self.noise_cov)

    def failed(self, mu: Particles) -> Int[Array, ""]:
        """How many members of `mu` the model does not run for."""
        return failed(mu, self.forward)

    def rates(self, t, x, mu):
        image = jnp.ravel(self.forward(x))
        misfit(image, self.data)
        _, mean, cross = moments(mu, self.forward)
        noise_cov = covariance_matrix(self.noise_cov, self.data.size, "noise_cov")
        gain = jnp.linalg.solve(noise_cov, cross.T).T
        seen = (image + mean) / 2 if self.form == "square_root" else image
        unravel = ravel_pytree(floating(x))[1]
        push = -gain @ finite(misfit(seen, self.data))
        velocity = unravel(moved_where_run(image, push))
        noise = Dense(gain @ factor(noise_cov)) if self.form == "stochastic" else None
        return Rates(velocity, noise)

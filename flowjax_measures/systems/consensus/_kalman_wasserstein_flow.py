r"""The Kalman–Wasserstein flow of a free energy ([garbuno2020]).

    ∂_t ρ = ∇·(ρ C(ρ) ∇(V + β⁻¹ log ρ)),        dX = −C(μ) ∇V(X) dt + √(2β⁻¹ C(μ)) dW

The gradient flow in the Wasserstein metric preconditioned by the covariance C; it takes the same
form in all affine coordinates. Itô.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ..._custom_types import FloatScalar, Point, Positive
from ..._numerics._matrix import square_root
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Dense, floating
from ._ensemble import finite_size_drift


class KalmanWassersteinFlow(AbstractMeanField):
    r"""Langevin's equation for e^{−βV}, preconditioned by the covariance of the points.

    For V = ½ xᵀPx, exactly from a `Gaussian`, C(t)⁻¹ = βP + e^{−2t/β}(C(0)⁻¹ − βP).

    **Arguments:**

    - `potential`: function V of one point.
    - `beta`: inverse temperature β; `None` is zero temperature, without noise.
    - `finite_size`: whether N equally weighted particles get the drift β⁻¹(d + 1)/N (X − ⟨X⟩), with
      which N > d + 1 of them sample e^{−βV} exactly (ALDI, [nusken2019]).

    !!! example

        `fm.simulate(fm.KalmanWassersteinFlow(f), mu, [0.0, 0.1], dt=0.01, key=key)`
    """

    potential: Callable[[Point], FloatScalar]
    beta: Positive | None = 1.0
    finite_size: bool = eqx.field(static=True, default=False)

    def rates(self, t, x, mu):
        here, unravel = ravel_pytree(floating(x))
        cov = mu.covariance()
        force = ravel_pytree(floating(jax.grad(self.potential, allow_int=True)(x)))[0]
        velocity = -cov @ force
        if self.beta is None:
            return Rates(unravel(velocity))
        if self.finite_size:
            velocity = velocity + finite_size_drift(here, mu) / self.beta
        return Rates(
            unravel(velocity), Dense(jnp.sqrt(2 / jnp.asarray(self.beta)) * square_root(cov))
        )

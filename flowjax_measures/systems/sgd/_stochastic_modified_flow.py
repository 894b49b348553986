r"""Stochastic modified flows: SGD of many points under the same minibatches ([gess2024]).

    dX = −∇(R + (η/4)‖∇R‖²) dt + √(η s_b / n) Σ_i (∇ℓ(X, z_i) − ∇R(X)) dB_i

with one Brownian motion for each example, shared by all points, and s_b the variance of a
minibatch mean over that of one example. Joint moments of several points agree with those of SGD
to O(η²), which the symmetric root of the covariance gets wrong. Itô.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar, NonNegative, Point, Positive, Velocity
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Cylindrical
from ._examples import (
    Schedule,
    check_data,
    modified_drift,
    number_of_examples,
    pace,
    thinning,
    uniform,
    weighted_gradient,
)
from ._gradient_noise import centred_gradient


class StochasticModifiedFlow(AbstractMeanField):
    r"""The stochastic flow that SGD on `loss` follows, matrix-free.

    With `order=1` the drift is −∇R alone, and the solver `OneSweep()` takes drift and noise of a
    step in one weighted gradient.

    **Arguments:**

    - `loss`: function ℓ(params, example) of one example. Minibatches that are fixed blocks of the
      data are examples themselves, of batch 1: `loss` is then the mean over a block.
    - `data`: pytree with leading axis = examples.
    - `eta`: step size η of SGD.
    - `batch`: size b of a minibatch.
    - `replacement`: whether examples are drawn with replacement.
    - `order`: 2, or 1 without the term in η of the drift.
    - `schedule`: function u of time; step k has the size η u(kη).

    !!! example

        `fm.simulate(fm.StochasticModifiedFlow(loss, data, 0.1), mu, [0.0, 0.2], dt=0.1, key=key)`
    """

    loss: Callable[[Point, Any], FloatScalar]
    data: PyTree
    eta: NonNegative
    batch: Positive = 1
    replacement: bool = eqx.field(static=True, default=True)
    order: Literal[1, 2] = eqx.field(static=True, default=2)
    schedule: Schedule | None = None

    def __check_init__(self):
        check_data(self.data)
        if self.order not in (1, 2):
            raise ValueError(f"`order` is {self.order}; the modified flow has order 1 or 2.")

    def _scale(self, u: FloatScalar) -> FloatScalar:
        n = number_of_examples(self.data)
        return u * jnp.sqrt(self.eta * thinning(n, self.batch, self.replacement) / n)

    def rates(self, t, x, mu):
        speed = pace(self.schedule, t)
        scale = self._scale(speed[0])
        drift = modified_drift(
            self.loss, self.data, x, self.eta if self.order == 2 else None, speed
        )

        def field(increment):
            return centred_gradient(self.loss, self.data, x, scale, increment)

        return Rates(drift, Cylindrical(field, (number_of_examples(self.data),)))

    def sweep(
        self, t: FloatScalar, x: Point, dt: FloatScalar, increment: Float[Array, " n"]
    ) -> Velocity:
        """drift · dt + noise of the point x: both are gradients weighted over the examples."""
        u, u_dot = pace(self.schedule, t)
        shares = uniform(self.data, x)
        weights = self._scale(u) * (increment - jnp.mean(increment)) - u * dt * shares
        if self.order == 1:
            return weighted_gradient(self.loss, self.data, x, weights)
        gradient = lambda theta: weighted_gradient(self.loss, self.data, theta, shares)  # noqa: E731
        curved = jax.jvp(gradient, (x,), (gradient(x),))[1]
        weights = weights + self.eta / 2 * u_dot * dt * shares
        move = weighted_gradient(self.loss, self.data, x, weights)
        return jax.tree.map(lambda a, h: a - self.eta / 2 * u**2 * dt * h, move, curved)

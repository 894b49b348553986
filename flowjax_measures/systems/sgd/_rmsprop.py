r"""RMSprop: its modified equation ([malladi2022]).

    dθ = −(∇R(θ) dt + √(η C_b(θ)) dW) / (√(v + eps_root) + eps)
    dv = ((1 − decay)/η) (diag C_b(θ) + ∇R(θ)² − v) dt

with t = kη after k steps. The published scaling sends η → 0 with minibatch noise of size σ₀/η,
1 − decay = cη² and eps = ε₀/η, in the time tη = kη²: then v η² is of order 1, ∇R² drops out of it,
and moments agree to O(η²). Without the scaling, ∇R² keeps v right when the noise is small. Itô.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._custom_types import FloatScalar, NonNegative, Point, Positive
from ..._system import AbstractMeanField
from ...measures import Particles, Rates
from ...measures._base import replace
from ._adaptive_moments import Moments, precondition, relax
from ._examples import check_data, gradient_squares, number_of_examples, risk_gradient, thinning
from ._gradient_noise import gradient_noise


class RMSpropModifiedEquation(AbstractMeanField):
    r"""The limit of `optax.rmsprop(eta, decay)`, whose `eps` stands under the root by default.

    Points are `Moments(params, (), second)`.

    **Arguments:**

    - `loss`: function ℓ(params, example) of one example.
    - `data`: pytree with leading axis = examples.
    - `eta`: step size η.
    - `batch`: size b of a minibatch.
    - `decay`: of the average of squared gradients.
    - `eps`, `eps_root`: added to the root, and under it.
    - `replacement`: whether examples are drawn with replacement.
    - `shared`: whether all points are under the same minibatches; else they are independent runs.

    !!! example

        `fm.RMSpropModifiedEquation(loss, data, 0.1)`
    """

    loss: Callable[[Point, Any], FloatScalar]
    data: PyTree
    eta: Positive
    batch: Positive = 1
    decay: NonNegative = 0.9
    eps: NonNegative = 0.0
    eps_root: NonNegative = 1e-8
    replacement: bool = eqx.field(static=True, default=True)
    shared: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_data(self.data)

    def start(self, mu: Particles) -> Particles:
        """Parameters without a past: v = 0, as optax starts."""
        return replace(mu, x=Moments(mu.x, (), jax.tree.map(jnp.zeros_like, mu.x)))

    def rates(self, t, x, mu):
        n = number_of_examples(self.data)
        share = thinning(n, self.batch, self.replacement)
        slope = risk_gradient(self.loss, self.data, x.params)
        squares = gradient_squares(self.loss, self.data, x.params, share)
        down = precondition(slope, x.second, self.eps, self.eps_root)
        velocity = Moments(
            jax.tree.map(jnp.negative, down),
            (),
            relax((1 - self.decay) / self.eta, squares, x.second),
        )

        def push(x, gradient):
            move = precondition(gradient, x.second, self.eps, self.eps_root)
            return Moments(move, (), jax.tree.map(jnp.zeros_like, move))

        scale = jnp.sqrt(self.eta * share / n)
        noise = gradient_noise(self.loss, self.data, scale, self.shared, lambda x: x.params, push)
        return Rates(velocity, noise)

r"""Adam: its modified equation ([malladi2022]).

    dθ = −(m/γ₁(t)) / (√(v/γ₂(t) + eps_root) + eps) dt
    dm = ((1 − b1)/η) ((∇R(θ) − m) dt + √(η C_b(θ)) dW)
    dv = ((1 − b2)/η) (diag C_b(θ) + ∇R(θ)² − v) dt

with t = kη after k steps and the bias corrections γ_i(t) = 1 − b_i^{t/η + 1} of the optimizer. The
published scaling sends η → 0 with minibatch noise of size σ₀/η, 1 − b_i = c_i η² and eps = ε₀/η, in
the time tη = kη²: then v η² is of order 1, ∇R² drops out of it, and moments agree to O(η²). Itô.
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


class AdamModifiedEquation(AbstractMeanField):
    r"""The limit of `optax.adam(eta, b1, b2, eps, eps_root)`.

    Points are `Moments(params, first, second)`; time starts at 0, where the optimizer starts.

    **Arguments:**

    - `loss`: function ℓ(params, example) of one example.
    - `data`: pytree with leading axis = examples.
    - `eta`: step size η.
    - `batch`: size b of a minibatch.
    - `b1`, `b2`: decays of the averages of gradients and of their squares.
    - `eps`, `eps_root`: added to the root, and under it.
    - `replacement`: whether examples are drawn with replacement.
    - `shared`: whether all points are under the same minibatches; else they are independent runs.

    !!! example

        ```python
        fm.simulate(
            fm.AdamModifiedEquation(loss, data, 0.1),
            fm.AdamModifiedEquation(loss, data, 0.1).start(fm.Particles(jnp.ones((4, 2)))),
            [0.0, 0.2],
            dt=0.1,
            key=key,
        )
        ```
    """

    loss: Callable[[Point, Any], FloatScalar]
    data: PyTree
    eta: Positive
    batch: Positive = 1
    b1: NonNegative = 0.9
    b2: NonNegative = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    replacement: bool = eqx.field(static=True, default=True)
    shared: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_data(self.data)

    def start(self, mu: Particles) -> Particles:
        """Parameters without a past: m = v = 0."""
        zero = jax.tree.map(jnp.zeros_like, mu.x)
        return replace(mu, x=Moments(mu.x, zero, zero))

    def rates(self, t, x, mu):
        n = number_of_examples(self.data)
        share = thinning(n, self.batch, self.replacement)
        remember = (1 - self.b1) / self.eta
        k = jnp.asarray(t / self.eta)
        gamma = [1 - jnp.asarray(b, k.dtype) ** (k + 1) for b in (self.b1, self.b2)]
        unbias = lambda a, g: jax.tree.map(lambda c: c / jnp.asarray(g, c.dtype), a)  # noqa: E731
        down = precondition(
            unbias(x.first, gamma[0]), unbias(x.second, gamma[1]), self.eps, self.eps_root
        )
        squares = gradient_squares(self.loss, self.data, x.params, share)
        velocity = Moments(
            jax.tree.map(jnp.negative, down),
            relax(remember, risk_gradient(self.loss, self.data, x.params), x.first),
            relax((1 - self.b2) / self.eta, squares, x.second),
        )

        def push(x, gradient):
            zero = jax.tree.map(jnp.zeros_like, gradient)
            return Moments(zero, gradient, zero)

        scale = remember * jnp.sqrt(self.eta * share / n)
        noise = gradient_noise(self.loss, self.data, scale, self.shared, lambda x: x.params, push)
        return Rates(velocity, noise)

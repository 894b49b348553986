r"""SGD with momentum, heavy ball and Nesterov: its modified equations ([li2019]).

    dq = (p − (c/2) h (κp + ∇R(q))) dt
    dp = −(κp + ∇R(q)) dt − (h/2) (κ(κp + ∇R(q)) − ∇²R(q) p) dt + √(h C_b(q)) dW

with step h = √η, friction κ = (1 − momentum)/h, time t = kh after k steps, and p = −h m in terms of
the optimizer's trace m. The terms in h of the drift belong to order 2; c = 1 for the heavy ball,
3 for Nesterov. Moments agree with those of the process to O(h), with them to O(h²). Itô.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._custom_types import FloatScalar, Point, Positive
from ..._system import AbstractMeanField
from ...measures import Particles, Rates
from ...measures._base import replace
from ...spaces import Phase
from ...spaces._phase import as_phase
from ._examples import check_data, number_of_examples, risk_gradient, thinning
from ._gradient_noise import gradient_noise


class MomentumModifiedEquation(AbstractMeanField):
    r"""The limit of `optax.sgd(eta, momentum, nesterov)` at fixed friction (1 − momentum)/√η.

    Points are `Phase(q, p)` of parameters and momenta; a `Gaussian` is over the flat pair (q, p),
    and gives the moments of linear regression exactly.

    **Arguments:**

    - `loss`: function ℓ(params, example) of one example.
    - `data`: pytree with leading axis = examples.
    - `eta`: step size η.
    - `batch`: size b of a minibatch.
    - `momentum`: decay of the trace, in [0, 1).
    - `order`: 1 or 2.
    - `nesterov`: whether the optimizer looks ahead; q is then the point where gradients are taken.
    - `replacement`: whether examples are drawn with replacement.
    - `shared`: whether all points are under the same minibatches; else they are independent runs.

    !!! example

        `fm.MomentumModifiedEquation(loss, data, 0.1, momentum=0.9)`
    """

    loss: Callable[[Point, Any], FloatScalar]
    data: PyTree
    eta: Positive
    batch: Positive = 1
    momentum: FloatScalar = 0.9
    order: Literal[1, 2] = eqx.field(static=True, default=1)
    nesterov: bool = eqx.field(static=True, default=False)
    replacement: bool = eqx.field(static=True, default=True)
    shared: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_data(self.data)
        if self.order not in (1, 2):
            raise ValueError(f"`order` is {self.order}; the modified equation has order 1 or 2.")

    def start(self, mu: Particles) -> Particles:
        """Parameters at rest."""
        return replace(mu, x=Phase(mu.x, jax.tree.map(jnp.zeros_like, mu.x)))

    def rates(self, t, x, mu):
        q, p = _phase(x)
        step = jnp.sqrt(self.eta)
        friction = (1 - self.momentum) / step
        gradient = lambda theta: risk_gradient(self.loss, self.data, theta)  # noqa: E731
        slope, bend = jax.jvp(gradient, (q,), (p,))
        force = jax.tree.map(lambda a, g: -_as(friction, a) * a - g, p, slope)
        rise, fall = p, force
        if self.order == 2:
            ahead = step * (3 if self.nesterov else 1) / 2
            rise = jax.tree.map(lambda a, f: a + _as(ahead, a) * f, p, force)
            fall = jax.tree.map(
                lambda f, b: f + _as(step / 2, f) * (_as(friction, f) * f + b), force, bend
            )
        n = number_of_examples(self.data)
        scale = jnp.sqrt(step * thinning(n, self.batch, self.replacement) / n)

        def push(x, g):
            return _like(x, Phase(jax.tree.map(jnp.zeros_like, g), g))

        noise = gradient_noise(
            self.loss, self.data, scale, self.shared, lambda x: _phase(x).q, push
        )
        return Rates(_like(x, Phase(rise, fall)), noise)


def _as(number: FloatScalar, a: jax.Array) -> jax.Array:
    return jnp.asarray(number, a.dtype)


def _phase(x: Point) -> Phase:
    return as_phase(x, "MomentumModifiedEquation")


def _like(x: Point, phase: Phase) -> Point:
    return phase if isinstance(x, Phase) else jnp.concatenate(phase)

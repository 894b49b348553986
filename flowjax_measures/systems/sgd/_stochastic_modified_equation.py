r"""Stochastic modified equations: the diffusion that minibatch SGD follows ([li2017]).

    dX = −∇R dt + √(η C_b(X)) dW                    (order 1)
    dX = −∇(R + (η/4)‖∇R‖²) dt + √(η C_b(X)) dW      (order 2)

with R the mean loss, C_b the covariance of a minibatch gradient and t = kη after k steps. Moments
of one point agree with those of SGD to O(η) and O(η²) on bounded times. Itô.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
from jaxtyping import PyTree

from ..._custom_types import FloatScalar, Point
from ..._noise import Common, Covariance
from ..._system import AbstractMeanField
from ...measures import Rates
from ._examples import (
    check_data,
    gradient_covariance,
    modified_drift,
    number_of_examples,
    thinning,
)


class StochasticModifiedEquation(AbstractMeanField):
    r"""The modified equation of SGD on `loss` with step size η.

    From a `Gaussian` (a Dirac has zero covariance) it gives the moments of linear regression
    exactly. The noise is C_b^{1/2} dW with the symmetric root, which knows one point only: joint
    laws of several points under the same minibatches need `StochasticModifiedFlow`.

    **Arguments:**

    - `loss`: function ℓ(params, example) of one example.
    - `data`: pytree with leading axis = examples.
    - `eta`: step size η of SGD.
    - `batch`: size b of a minibatch.
    - `order`: 1 or 2.
    - `replacement`: whether examples are drawn with replacement.
    - `shared`: whether all points feel the same W.
    """

    loss: Callable[[Point, Any], FloatScalar]
    data: PyTree
    eta: FloatScalar
    batch: FloatScalar = 1
    order: Literal[1, 2] = eqx.field(static=True, default=1)
    replacement: bool = eqx.field(static=True, default=True)
    shared: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_data(self.data)
        if self.order not in (1, 2):
            raise ValueError(f"`order` is {self.order}; the modified equation has order 1 or 2.")

    def rates(self, t, x, mu):
        scale = thinning(number_of_examples(self.data), self.batch, self.replacement)
        rate = self.eta * scale * gradient_covariance(self.loss, self.data, x)
        drift = modified_drift(self.loss, self.data, x, self.eta if self.order == 2 else None)
        noise = Covariance(rate)
        return Rates(drift, Common(noise) if self.shared else noise)

r"""Stochastic modified flows: SGD of many points under the same minibatches ([gess2024]).

    dX = −∇(R + (η/4)‖∇R‖²) dt + √(η s_b / n) Σ_i (∇ℓ(X, z_i) − ∇R(X)) dB_i

with one Brownian motion for each example, shared by all points, and s_b the variance of a
minibatch mean over that of one example. Joint moments of several points agree with those of SGD
to O(η²), which the symmetric root of the covariance gets wrong. Itô.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._custom_types import FloatScalar, Point
from ..._noise import Cylindrical
from ..._system import AbstractMeanField
from ...measures import Rates
from ._examples import (
    check_data,
    modified_drift,
    number_of_examples,
    thinning,
    weighted_gradient,
)


class StochasticModifiedFlow(AbstractMeanField):
    r"""The stochastic flow that SGD on `loss` follows, matrix-free.

    **Arguments:**

    - `loss`: function ℓ(params, example) of one example.
    - `data`: pytree with leading axis = examples.
    - `eta`: step size η of SGD.
    - `batch`: size b of a minibatch.
    - `replacement`: whether examples are drawn with replacement.
    """

    loss: Callable[[Point, Any], FloatScalar]
    data: PyTree
    eta: FloatScalar
    batch: FloatScalar = 1
    replacement: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_data(self.data)

    def rates(self, t, x, mu):
        n = number_of_examples(self.data)
        scale = jnp.sqrt(self.eta * thinning(n, self.batch, self.replacement) / n)

        def field(increment):
            # Σ_i (g_i − ḡ) dB_i = Σ_i g_i (dB_i − mean dB): one weighted gradient.
            weights = scale.astype(increment.dtype) * (increment - jnp.mean(increment))
            return weighted_gradient(self.loss, self.data, x, weights)

        return Rates(modified_drift(self.loss, self.data, x, self.eta), Cylindrical(field, (n,)))

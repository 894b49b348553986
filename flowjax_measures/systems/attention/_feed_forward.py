r"""Feed-forward layers: a drift of each token alone, to be added to attention.

ẋ = O φ(Mx + b) + c
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ...spaces import Phase
from ._matrices import Matrix, at, fitting, times
from ._order import beside, paired

Vector = Float[Array, " _"] | Callable[[FloatScalar], Float[Array, " _"]] | None


class FeedForward(AbstractMeanField):
    r"""A perceptron as a drift; `SelfAttention(…) + FeedForward(…)` is a transformer's block.

    **Arguments:**

    - `weight`: matrix M of shape (h, d), or a function of time; `None` is the identity.
    - `bias`: vector b of shape (h,), or a function of time; `None` is 0.
    - `output`: matrix O of shape (d, h), or a function of time; `None` is the identity.
    - `output_bias`: vector c of shape (d,), or a function of time; `None` is 0.
    - `activation`: φ, applied to each coordinate; `jax.nn.relu` by default.

    Of `Phase(q, p)` points it is a force: ṗ = O φ(Mq + b) + c, to be added to `SympFormer`.

    !!! example

        `fm.SelfAttention(beta=4.0) + fm.FeedForward(jnp.eye(3), jnp.eye(3))`
    """

    weight: Matrix = None
    bias: Vector = None
    output: Matrix = None
    activation: Callable[[Any], Any] = jax.nn.relu
    output_bias: Vector = None

    def rates(self, t, x, mu):
        labelled, inertial = paired(x), isinstance(x, Phase)
        token = x[0] if labelled else x.q if inertial else x
        weight, output = at(self.weight, t), at(self.output, t)
        fitting("output", output, fitting("weight", weight, token.size))
        hidden = times(weight, token)
        if self.bias is not None:
            hidden = hidden + at(self.bias, t)
        velocity = times(output, self.activation(hidden))
        if self.output_bias is not None:
            velocity = velocity + at(self.output_bias, t)
        if inertial:
            return Rates(Phase(jnp.zeros_like(velocity), velocity))
        return Rates(beside(x, velocity))

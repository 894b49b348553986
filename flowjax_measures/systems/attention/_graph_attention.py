r"""Attention on a weighted graph (Ayi, Pouradier Duteil and Poyato).

    ẋ_i = (1/n) Σ_j w_ij e^{β⟨Qx_i, Kx_j⟩} V x_j                                 (mean)
    ẋ_i = Σ_j w_ij e^{β⟨Qx_i, Kx_j⟩} V x_j / Σ_j w_ij e^{β⟨Qx_i, Kx_j⟩}          (softmax)

A graph is an n × n array of weights or, for a graphon limit, a function w(ξ_i, ξ_j) of labels; a
causal mask is the graph w_ij = 1 for j ≤ i.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ._matrices import Matrix, at, times
from ._order import between, paired, told_apart


class GraphAttention(AbstractMeanField):
    r"""Attention along the edges of a graph.

    **Arguments:**

    - `weights`: w, an array (n, n) whose row i says what token i sees, or a function of (i, j).
    - `query`, `key`, `value`: matrices Q, K, V, or functions of time that return them; `None` is
      the identity.
    - `beta`: inverse temperature β; 0 is linear averaging.
    - `normalization`: "softmax", for weights ≥ 0, or "mean", for weights of any sign.

    Vertices are numbered by the order of the particles or, when points are pairs `(x, label)`, by
    integer labels. A token without an edge has velocity 0.

    !!! example

        With β = 0, "mean" and V = I the flow is x(t) = e^{tw/n} x(0).
    """

    weights: Float[Array, "_ _"] | Callable[[Any, Any], Any]
    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0
    normalization: Literal["softmax", "mean"] = eqx.field(static=True, default="softmax")

    def __check_init__(self):
        if self.normalization not in ("softmax", "mean"):
            raise ValueError(
                f'`normalization` is {self.normalization!r}; it is "softmax" or "mean".'
            )
        if not callable(self.weights):
            shape = jnp.shape(self.weights)
            if len(shape) != 2 or shape[0] != shape[1]:
                raise ValueError(
                    f"`weights` has shape {shape}; give one weight for each pair of vertices."
                )

    def rates(self, t, x, mu):
        labelled = paired(x)
        (token, i), mu = told_apart(x, mu)
        looks = times(at(self.query, t), token)
        key = at(self.key, t)

        def edge(y):
            return jnp.asarray(between(self.weights, i, y[1]), token.dtype)

        def logits(y):
            score = self.beta * jnp.vdot(looks, times(key, y[0]))
            # Who is no neighbour must not set the scale of the exponentials.
            return jnp.where(edge(y) == 0, -jnp.inf, score)

        # The weight is carried as a value, for it may be negative.
        (degree, reads), log_normaliser = mu.tilt(lambda y: (edge(y), edge(y) * y[0]), logits)
        if self.normalization == "mean":
            reads = jnp.exp(log_normaliser) * reads
        else:
            reads = reads / jnp.where(degree == 0, 1, degree)
        velocity = times(at(self.value, t), reads)
        return Rates((velocity, None) if labelled else velocity)

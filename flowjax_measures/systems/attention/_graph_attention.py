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
from ._matrices import Matrix, evaluated, times
from ._order import between, paired, told_apart


class GraphAttention(AbstractMeanField):
    r"""Attention along the edges of a graph.

    **Arguments:**

    - `weights`: w, an array (n, n) whose row i says what token i sees, or a function of (i, j).
    - `query`, `key`, `value`: matrices Q, K, V, or functions of time that return them; `None` is
      the identity.
    - `beta`: inverse temperature β; 0 is linear averaging.
    - `normalization`: "softmax", for weights ≥ 0 (0 or less is no edge, and has derivative 0), or
      "mean", for weights of any sign.

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
        query, key, value = evaluated(self, t, token).values()
        looks = times(query, token)
        score = lambda y: self.beta * jnp.vdot(looks, times(key, y[0]))  # noqa: E731
        if self.normalization == "softmax":
            mu, log_edge = between(_logarithm(self.weights, token.dtype), i, mu, labelled)
            reads = mu.mean(lambda y: y[0], lambda y: score(y) + log_edge(y))
        else:
            # The weight is carried as a value, for it may be negative.
            mu, edge = between(self.weights, i, mu, labelled)
            weighed = lambda y: jnp.asarray(edge(y), token.dtype) * y[0]  # noqa: E731
            reads, log_normaliser = mu.tilt(weighed, score)
            reads = jnp.exp(log_normaliser) * reads
        velocity = times(value, reads)
        return Rates((velocity, None) if labelled else velocity)


def _logarithm(weights, dtype):
    """log w, −∞ with derivative 0 where there is no edge; of an array at once, not for each row."""
    if callable(weights):
        return lambda i, j: _logarithm(weights(i, j), dtype)
    w = jnp.asarray(weights, dtype)
    return jnp.where(w > 0, jnp.log(jnp.where(w > 0, w, 1)), -jnp.inf)

r"""Attention on a weighted graph (Ayi, Pouradier Duteil and Poyato).

    ẋ_i = (1/n) Σ_j w_ij e^{β⟨Qx_i, Kx_j⟩} V x_j                                 (mean)
    ẋ_i = Σ_j w_ij e^{β⟨Qx_i, Kx_j⟩} V x_j / Σ_j w_ij e^{β⟨Qx_i, Kx_j⟩}          (softmax)

A graph is an n × n array of weights or, for a graphon limit, a function w(ξ_i, ξ_j) of labels; a
causal mask is the graph w_ij = 1 for j ≤ i.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ._layer import AbstractLayer
from ._matrices import Matrix
from ._relation import between


class GraphAttention(AbstractLayer):
    r"""Attention along the edges of a graph.

    **Arguments:**

    - `weights`: w, an array (n, n) whose row i says what token i sees, or a function of (i, j).
    - `normalization`: "softmax", for weights ≥ 0 (0 or less is no edge, and has derivative 0), or
      "mean", for weights of any sign.

    `query`, `key`, `value`, `beta`, `output`, `causal`, `mask`, `bias`,
    `exclude_self` and `rotary` are those of `SelfAttention`. β = 0 is linear
    averaging. Vertices are numbered by the order of the particles or, when points are pairs
    `(x, label)`, by integer labels; a function w takes real labels too, those of a graphon (see
    `GraphonVlasov`). A token without an edge has velocity 0.

    !!! example

        With β = 0, "mean" and V = I the flow is x(t) = e^{tw/n} x(0).

    !!! example

        `fm.simulate(fm.GraphAttention(jnp.ones((8, 8))), tokens, [0.0, 1.0], dt=0.1)`
    """

    weights: Float[Array, "_ _"] | Callable[[Any, Any], Any] = eqx.field(kw_only=True)
    normalization: Literal["softmax", "mean"] = eqx.field(static=True, kw_only=True)

    ordered: ClassVar[bool] = True

    def __init__(
        self,
        weights,
        query: Matrix = None,
        key: Matrix = None,
        value: Matrix = None,
        beta: FloatScalar | Float[Array, " _"] = 1.0,
        normalization: Literal["softmax", "mean"] = "softmax",
        *,
        output: Matrix = None,
        causal: bool = False,
        mask=None,
        bias=None,
        exclude_self: bool = False,
        rotary: float | None = None,
    ):
        self.weights, self.normalization = weights, normalization
        self.query, self.key, self.value, self.beta = query, key, value, beta
        self.output, self.causal, self.mask, self.bias = output, causal, mask, bias
        self.exclude_self, self.rotary = exclude_self, rotary

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

    def read(self, mu, look):
        here, logits = look.here, look.logits()
        if self.normalization == "softmax":
            log_weights = _logarithm(self.weights, here[0].dtype)
            mu, log_edge = between("weights", log_weights, here[1], mu, look.labelled)
            return mu.mean(look.value, lambda y: logits(y) + log_edge(here, y))
        # The weight is carried as a value, for it may be negative.
        mu, edge = between("weights", self.weights, here[1], mu, look.labelled)

        def weighed(y):
            return jnp.asarray(edge(here, y), here[0].dtype) * look.value(y)

        reads, log_normaliser = mu.tilt(weighed, logits)
        return jnp.exp(log_normaliser) * reads


def _logarithm(weights, dtype):
    """log w, −∞ with derivative 0 where there is no edge; of an array at once, not for each row."""
    if callable(weights):
        return lambda i, j: _logarithm(weights(i, j), dtype)
    w = jnp.asarray(weights, dtype)
    return jnp.where(w > 0, jnp.log(jnp.where(w > 0, w, 1)), -jnp.inf)

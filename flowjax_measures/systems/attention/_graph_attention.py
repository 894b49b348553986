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


class HypergraphInteraction(AbstractMeanField):
    r"""Interactions of several bodies at once, along the edges of a hypergraph.

        ẋ_i = Σ_ℓ (1/n^ℓ) Σ_{j_1 … j_ℓ} w_ℓ(i, j_1, …, j_ℓ) K_ℓ(x_i, x_{j_1}, …, x_{j_ℓ})

    **Arguments:**

    - `kernels`: the functions K_ℓ(x, y_1, …, y_ℓ) of points, one for each ℓ = 1, 2, ….
    - `weights`: for each ℓ an array of ℓ + 1 axes of length n, a function of labels
      (i, j_1, …, j_ℓ), or `None` for weight 1; `None` for all is the complete hypergraph.

    The work is n^ℓ for each point. Weights of particles count as masses do elsewhere.
    """

    kernels: tuple[Callable[..., Any], ...]
    weights: tuple[Any, ...] | None = None

    def __check_init__(self):
        if self.weights is not None and len(self.weights) != len(self.kernels):
            raise ValueError(
                f"There are {len(self.kernels)} kernels and {len(self.weights)} weights; give one "
                "weight, or None, for each kernel."
            )

    def rates(self, t, x, mu):
        labelled = paired(x)
        (token, i), mu = told_apart(x, mu)
        weights = self.weights or (None,) * len(self.kernels)
        total = jnp.zeros_like(token)
        for bodies, (kernel, weight) in enumerate(zip(self.kernels, weights, strict=True), 1):

            def edge(others, kernel=kernel, weight=weight):
                force = kernel(token, *(y for y, _ in others))
                if weight is None:
                    return force
                labels = (i, *(j for _, j in others))
                w = weight(*labels) if callable(weight) else jnp.asarray(weight)[labels]
                return jnp.asarray(w, force.dtype) * force

            total = total + _nested_mean(mu, edge, bodies, ())
        return Rates((total, None) if labelled else total)


def _nested_mean(mu, edge, bodies, others):
    """The mean over `bodies` more points of `edge`."""
    if bodies == 0:
        return edge(others)
    return mu.mean(lambda y: _nested_mean(mu, edge, bodies - 1, (*others, y)))

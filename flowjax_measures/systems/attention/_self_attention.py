r"""Self-attention: tokens move to where they look ([geshkovski2023], [sander2022]).

    ẋ = Σ_h O_h ∫ e^{ℓ_h(x, y)} V_h y μ(dy) / ∫ e^{ℓ_h(x, y)} μ(dy)     (softmax)
    ẋ = Σ_h O_h ∫ e^{ℓ_h(x, y)} V_h y μ(dy)                              (mean)
    ℓ_h(x, y) = β ⟨Q_h x, K_h y⟩ + bias(x, y)

The continuum of transformer layers, with depth as time. On the sphere the space projects the
drift: layers with normalisation after the residual.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._custom_types import FloatScalar
from ..._reduce import identity
from ..._system import AbstractMeanField
from ...measures import Rates
from ._matrices import Matrix, evaluated, over_heads, times
from ._order import between, paired, told_apart


class SelfAttention(AbstractMeanField):
    r"""Self-attention flow in R^d or, with `space=Sphere()`, on the sphere.

    **Arguments:**

    - `query`, `key`, `value`: matrices Q, K of shape (k, d) and V of shape (d, d), or functions of
      time that return them; `None` is the identity. With a leading axis, (h, k, d), one for each
      of h heads, whose velocities add; matrices without it are shared by the heads.
    - `beta`: inverse temperature β, or one for each head; negative values repel.
    - `normalization`: "softmax", or "mean", the fixed normaliser 1/n.
    - `causal`: whether token i sees only tokens j ≤ i, in the order of the particles or, when
      points are pairs `(x, label)`, of their integer labels.
    - `output`: matrices O of shape (d, v) or (h, d, v); V is then (v, d) or (h, v, d).
    - `mask`: which pairs may look: a bool array (n, n), or a function of (i, j).
    - `bias`: what is added to ℓ: an array (n, n), or a function of (i, j).
    - `exclude_self`: whether a token does not look at itself.

    A token that may look at nothing has velocity 0. From a `Gaussian` the flow is its closure,
    exact for softmax, whose velocity is affine in x:

        Σ̇ = βV Σ KᵀQ Σ + (…)ᵀ,   ṁ = V(I + βΣ KᵀQ) m,

    which may blow up in finite time: end the run with an `event`.

    **Raises:** `ValueError` when the numbers of heads differ, when a matrix does not fit, or when a
    measure without particles is asked for an order.
    """

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar | Float[Array, " _"] = 1.0
    normalization: Literal["softmax", "mean"] = eqx.field(static=True, default="softmax")
    causal: bool = eqx.field(static=True, default=False)
    output: Matrix = None
    mask: Bool[Array, "_ _"] | Callable[[Any, Any], Any] | None = None
    bias: Float[Array, "_ _"] | Callable[[Any, Any], Any] | None = None
    exclude_self: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.normalization not in ("softmax", "mean"):
            raise ValueError(
                f'`normalization` is {self.normalization!r}; it is "softmax" or "mean".'
            )

    def rates(self, t, x, mu):
        labelled = paired(x)
        mu, relation = self._relation(x, mu, labelled)
        pairs = labelled or relation is not None
        token = (lambda y: y[0]) if pairs else identity
        looker = x[0] if labelled else x

        def head(query, key, value, output, beta):
            looks = times(query, looker)

            def logits(y):
                score = beta * jnp.vdot(looks, times(key, token(y)))
                return score if relation is None else score + relation(y)

            reads, log_normaliser = mu.tilt(token, logits)
            if self.normalization == "mean":
                reads = jnp.exp(log_normaliser) * reads
            return times(output, times(value, reads))

        velocity = over_heads(head, evaluated(self, t, looker), self.beta)
        return Rates((velocity, None) if labelled else velocity)

    def _relation(self, x, mu, labelled):
        """The measure of pairs, and what it adds to ℓ at y: −∞ where x may not look."""
        if not (self.causal or self.exclude_self) and self.mask is None and self.bias is None:
            return mu, None
        (_, i), mu = told_apart(x, mu)
        always = lambda value: lambda y: value  # noqa: E731
        may, adds = always(True), always(0.0)
        if self.mask is not None:
            mu, may = between(self.mask, i, mu, labelled)
        if self.bias is not None:
            mu, adds = between(self.bias, i, mu, labelled)

        def relation(y):
            allowed = jnp.asarray(may(y))
            if self.causal:
                allowed &= y[1] <= i
            if self.exclude_self:
                allowed &= y[1] != i
            return jnp.where(allowed, adds(y), -jnp.inf)

        return mu, relation

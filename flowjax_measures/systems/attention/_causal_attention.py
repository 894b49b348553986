r"""Causal attention with a linear bias towards the recent ([press2022]).

    ẋ_j = Σ_{k≤j} w_jk e^{β⟨Qx_j, Kx_k⟩} V x_k / Σ_{k≤j} w_jk e^{β⟨Qx_j, Kx_k⟩}   (softmax)
    ẋ_j = Σ_{k≤j} w_jk e^{β⟨Qx_j, Kx_k⟩} V x_k / Σ_{k≤j} w_jk                      (positions)
    w_jk = e^{−λ(j−k)/n}

and on the circle, with the second normaliser, which does not depend on the tokens,

    θ̇_j = Σ_{k≤j} w_jk W'(θ_j − θ_k) / Σ_{k≤j} w_jk,   W(x) = e^{β cos x}.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ._matrices import Matrix, evaluated, times
from ._order import paired, told_apart


def _recency(lam, size, i, j, dtype):
    """log w: how far j is behind i, −∞ ahead of it."""
    behind = (i - j).astype(dtype) / size
    return jnp.where(j <= i, -lam * behind, -jnp.inf)


class CausalAttention(AbstractMeanField):
    r"""Tokens that look back, at the recent ones most.

    **Arguments:**

    - `query`, `key`, `value`: matrices Q, K, V, or functions of time that return them; `None` is
      the identity.
    - `beta`: inverse temperature β.
    - `recency`: λ, by which the bias falls over the whole context; 0 is none.
    - `normalization`: "softmax", or "positions", the normaliser without the tokens.

    The order is that of the particles or, when points are pairs `(x, label)`, of integer labels.
    """

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0
    recency: FloatScalar = 0.0
    normalization: Literal["softmax", "positions"] = eqx.field(static=True, default="softmax")

    def __check_init__(self):
        if self.normalization not in ("softmax", "positions"):
            raise ValueError(
                f'`normalization` is {self.normalization!r}; it is "softmax" or "positions".'
            )

    def rates(self, t, x, mu):
        labelled = paired(x)
        (token, i), mu = told_apart(x, mu)
        query, key, value = evaluated(self, t, token).values()
        looks = times(query, token)
        score = lambda y: self.beta * jnp.vdot(looks, times(key, y))  # noqa: E731
        past = lambda y: _recency(self.recency, mu.size(), i, y[1], token.dtype)  # noqa: E731
        if self.normalization == "softmax":
            reads = mu.mean(lambda y: y[0], lambda y: past(y) + score(y[0]))
        else:
            reads = mu.mean(lambda y: jnp.exp(score(y[0])) * y[0], past)
        velocity = times(value, reads)
        return Rates((velocity, None) if labelled else velocity)


class CausalCircle(AbstractMeanField):
    r"""The circle model: angles, shape (n, 1), drawn by W' towards those before them.

    **Arguments:** `beta`: β in W(x) = e^{β cos x}; `recency`: λ. Angles may be on
    `Torus(2π)` or, unwrapped, in R.

    !!! example

        The correlations of this model are those of `lost_in_the_middle`.
    """

    beta: FloatScalar = 1.0
    recency: FloatScalar = 0.0

    def rates(self, t, x, mu):
        labelled = paired(x)
        (angle, i), mu = told_apart(x, mu)

        def pull(y):
            away = angle - y[0]
            return -self.beta * jnp.sin(away) * jnp.exp(self.beta * jnp.cos(away))

        past = lambda y: _recency(self.recency, mu.size(), i, y[1], angle.dtype)  # noqa: E731
        velocity = mu.mean(pull, past)
        return Rates((velocity, None) if labelled else velocity)

r"""Causal attention with a linear bias towards the recent ([press2022]).

    ẋ_j = Σ_{k≤j} w_jk e^{β⟨Qx_j, Kx_k⟩} V x_k / Σ_{k≤j} w_jk e^{β⟨Qx_j, Kx_k⟩}   (softmax)
    ẋ_j = Σ_{k≤j} w_jk e^{β⟨Qx_j, Kx_k⟩} V x_k / Σ_{k≤j} w_jk                      (positions)
    w_jk = e^{−λ(j−k)/n}

and on the circle, with the second normaliser, which does not depend on the tokens,

    θ̇_j = Σ_{k≤j} w_jk W'(θ_j − θ_k) / Σ_{k≤j} w_jk,   W(x) = e^{β cos x}.
"""

from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ._order import beside, told_apart
from ._watched import AbstractAttention


def _recency(lam, size, i, j, dtype):
    """log w: how far j is behind i, −∞ ahead of it."""
    behind = (i - j).astype(dtype) / size
    return jnp.where(j <= i, -lam * behind, -jnp.inf)


class CausalAttention(AbstractAttention):
    r"""Tokens that look back, at the recent ones most.

    **Arguments:** `query`, `key`, `value`, `beta`, `output`, `causal`, `mask`, `bias`,
    `exclude_self` and `rotary` are those of `SelfAttention`. Besides,

    - `recency`: λ, by which the bias falls over the whole context; 0 is none.
    - `normalization`: "softmax", or "positions", the normaliser without the tokens.

    The order is that of the particles or, when points are pairs `(x, label)`, of integer labels.

    !!! example

        `fm.simulate(fm.CausalAttention(beta=4.0), tokens, [0.0, 1.0], dt=0.1)`
    """

    recency: FloatScalar = 0.0
    normalization: Literal["softmax", "positions"] = eqx.field(static=True, default="softmax")

    ordered: ClassVar[bool] = True

    def __check_init__(self):
        if self.normalization not in ("softmax", "positions"):
            raise ValueError(
                f'`normalization` is {self.normalization!r}; it is "softmax" or "positions".'
            )

    def read(self, mu, look):
        i, dtype, size = look.here[1], look.here[0].dtype, mu.size()
        score, relation = look.logits(), look.relation

        def past(y):
            behind = _recency(self.recency, size, i, y[1], dtype)
            return behind if relation is None else behind + relation(look.here, y)

        def logits(y):
            return score(y) + _recency(self.recency, size, i, y[1], dtype)

        if self.normalization == "softmax":
            return mu.mean(look.value, logits)
        reads, log_normaliser = mu.tilt(look.value, logits)
        return jnp.exp(log_normaliser - mu.logmean(past)) * reads


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
        (angle, i), mu = told_apart(x, mu)

        def pull(y):
            away = angle - y[0]
            return -self.beta * jnp.sin(away) * jnp.exp(self.beta * jnp.cos(away))

        past = lambda y: _recency(self.recency, mu.size(), i, y[1], angle.dtype)  # noqa: E731
        velocity = mu.mean(pull, past)
        return Rates(beside(x, velocity))

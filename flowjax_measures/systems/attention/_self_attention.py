r"""Self-attention: tokens move to where they look ([geshkovski2023], [sander2022]).

    ẋ = Σ_h O_h ∫ e^{ℓ_h(x, y)} V_h y μ(dy) / ∫ e^{ℓ_h(x, y)} μ(dy)     (softmax)
    ẋ = Σ_h O_h ∫ e^{ℓ_h(x, y)} V_h y μ(dy)                              (mean)
    ℓ_h(x, y) = β ⟨Q_h x, K_h y⟩ + bias(x, y)

The continuum of transformer layers, with depth as time. On the sphere the space projects the
drift: layers with normalisation after the residual.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp

from ._watched import AbstractAttention


class SelfAttention(AbstractAttention):
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
    - `mask`: which pairs may look: a bool array (n, n) or (h, n, n), or a function of (i, j).
    - `bias`: what is added to ℓ: an array (n, n) or (h, n, n), or a function of (i, j); with
      heads it may return one number for each.
    - `exclude_self`: whether a token does not look at itself.
    - `rotary`: turns the pairs of coordinates of Qx and Ky by their places times base^{−2i/k},
      with this base, as a rule 10000, so that ℓ depends on the difference of places.

    All but `normalization` is shared by the other kinds of attention.

    A token that may look at nothing has velocity 0. From a `Gaussian` the flow is its closure,
    exact for softmax, whose velocity is affine in x:

        Σ̇ = βV Σ KᵀQ Σ + (…)ᵀ,   ṁ = V(I + βΣ KᵀQ) m,

    which may blow up in finite time: end the run with an `event`. The matrix itself is
    `SelfAttention(…).weights(tokens)`.

    **Raises:** `ValueError` when the numbers of heads differ, when a matrix does not fit, or when a
    measure without particles is asked for an order.
    """

    normalization: Literal["softmax", "mean"] = eqx.field(static=True, default="softmax")

    def __check_init__(self):
        if self.normalization not in ("softmax", "mean"):
            raise ValueError(
                f'`normalization` is {self.normalization!r}; it is "softmax" or "mean".'
            )

    def read(self, mu, look):
        reads, log_normaliser = mu.tilt(look.value, look.logits())
        return reads if self.normalization == "softmax" else jnp.exp(log_normaliser) * reads

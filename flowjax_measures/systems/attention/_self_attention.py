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
from jaxtyping import Array, Float

from ._growth import growth_rate
from ._matrices import multiple_of_identity
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

    !!! example

        `fm.simulate(fm.SelfAttention(beta=4.0), tokens, jnp.linspace(0.0, 5.0, 6))`
    """

    normalization: Literal["softmax", "mean"] = eqx.field(static=True, default="softmax")

    def __check_init__(self):
        if self.normalization not in ("softmax", "mean"):
            raise ValueError(
                f'`normalization` is {self.normalization!r}; it is "softmax" or "mean".'
            )

    def growth_rate(self, k: int, d: int = 2) -> Float[Array, ""]:
        r"""The rate at which harmonics of degree k grow on tokens uniform on S^{d−1}.

        On the circle, d = 2, it is k² I_k(β)/β for the mean, and that over I_0(β) for softmax; in
        general see `_growth.py`. Negative rates decay.

        **Raises:** `ValueError` for other degrees and dimensions, and unless Q and K are the
        identity, V is a multiple of it, and there are neither heads, masks nor biases.

        !!! example

            `SelfAttention(beta=4.0).growth_rate(2)` is that of cos 2θ.
        """
        for name, number, least in (("k", k, 1), ("d", d, 2)):
            if not (isinstance(number, int) and number >= least):
                raise ValueError(f"`{name}` is {number!r}; give a whole number from {least} on.")
        beta = jnp.asarray(self.beta, float)
        given = [self.query, self.key, self.output, self.rotary]
        if any(g is not None for g in given) or self.related() or beta.ndim:
            raise ValueError(
                "`growth_rate` is of one head with Q = K = I and without order, masks or biases; "
                "run the system from a `GridDensity` of angles (`InCoordinates`) for others."
            )
        rate, uniform = growth_rate(beta, k, d)
        if self.normalization == "mean":
            rate = rate * uniform
        return rate if self.value is None else multiple_of_identity("value", self.value) * rate

    def read(self, mu, look):
        reads, log_normaliser = mu.tilt(look.value, look.logits())
        return reads if self.normalization == "softmax" else jnp.exp(log_normaliser) * reads

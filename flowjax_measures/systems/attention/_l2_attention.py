r"""L2 attention: tokens look at what is near ([kim2021], [castin2025]).

    ẋ = ∫ e^{−β‖Qx − Ky‖²} V y μ(dy) / ∫ e^{−β‖Qx − Ky‖²} μ(dy).

Unlike the dot product it is Lipschitz in the tokens, and from a Gaussian it never blows up where
V is bounded: with S = (Σ⁻¹ + 2βKᵀK)⁻¹ the mean that x reads is m + 2βS Kᵀ(Qx − Km).
"""

import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ._matrices import Matrix, evaluated, times


class L2Attention(AbstractMeanField):
    r"""Attention by distance.

    **Arguments:**

    - `query`, `key`, `value`: matrices Q, K of shape (k, d), V of shape (d, d), or functions of
      time that return them; `None` is the identity.
    - `beta`: inverse temperature β; the weight is e^{−β‖Qx − Ky‖²}, without ½.

    With V = I the velocity is that of mean shift plus x: ẋ = x + (⟨y⟩ − x).
    """

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0

    def rates(self, t, x, mu):
        query, key, value = evaluated(self, t, x).values()
        looks = times(query, x)

        def near(y):
            # ‖Qx‖² cancels between the sums, and ‖Ky‖² is of y alone: what is left is a product.
            k = times(key, y)
            return self.beta * (2 * jnp.vdot(looks, k) - jnp.vdot(k, k))

        return Rates(times(value, mu.mean(logits=near)))

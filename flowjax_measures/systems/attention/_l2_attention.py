r"""L2 attention: tokens look at what is near ([kim2021], [castin2025]).

    ẋ = ∫ e^{−β‖Qx − Ky‖²} V y μ(dy) / ∫ e^{−β‖Qx − Ky‖²} μ(dy).

Unlike the dot product it is Lipschitz in the tokens, and from a Gaussian it never blows up where
V is bounded: with S = (Σ⁻¹ + 2βKᵀK)⁻¹ the mean that x reads is m + 2βS Kᵀ(Qx − Km).
"""

import jax.numpy as jnp

from ._watched import AbstractAttention


class L2Attention(AbstractAttention):
    r"""Attention by distance.

    **Arguments:** `query`, `key`, `value`, `beta`, `output`, `causal`, `mask`, `bias`,
    `exclude_self` and `rotary` are those of `SelfAttention`. The weight is e^{−β‖Qx − Ky‖²},
    without ½.

    With V = I the velocity is that of mean shift plus x: ẋ = x + (⟨y⟩ − x).

    !!! example

        `fm.simulate(fm.L2Attention(beta=4.0), tokens, [0.0, 1.0], dt=0.1)`
    """

    def read(self, mu, look):
        # ‖Qx‖² cancels between the sums, and ‖Ky‖² is of y alone: what is left is a product.
        return mu.mean(look.value, look.logits(lambda q, k: 2 * jnp.vdot(q, k) - jnp.vdot(k, k)))

r"""Self-attention: tokens move to where they look ([geshkovski2023], [sander2022]).

    ẋ = ∫ e^{β⟨Qx, Ky⟩} V y μ(dy) / ∫ e^{β⟨Qx, Ky⟩} μ(dy)     (softmax)
    ẋ = ∫ e^{β⟨Qx, Ky⟩} V y μ(dy)                              (mean)

The continuum of transformer layers, with depth as time. On the sphere the space projects the
drift: layers with normalisation after the residual.
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates

Matrix = Float[Array, "d d"] | Callable[[FloatScalar], Float[Array, "d d"]] | None


class SelfAttention(AbstractMeanField):
    r"""Self-attention flow in R^d or, with `space=Sphere()`, on the sphere.

    **Arguments:**

    - `query`, `key`, `value`: matrices Q, K, V, or functions of time that return them; `None` is
      the identity.
    - `beta`: inverse temperature β; negative values repel.
    - `normalization`: "softmax" or "mean".
    - `causal`: whether token i sees only tokens j ≤ i, in the order of the particles' integer
      label: points are then `(x, index)` pairs.

    From a `Gaussian` the flow is its closure, exact for Gaussian initial laws:
    ẋ = V(m + Σ b + …) is affine in x.
    """

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0
    normalization: Literal["softmax", "mean"] = eqx.field(static=True, default="softmax")
    causal: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.normalization not in ("softmax", "mean"):
            raise ValueError(
                f'`normalization` is {self.normalization!r}; it is "softmax" or "mean".'
            )

    def rates(self, t, x, mu):
        token, index = x if self.causal else (x, None)
        looks = _apply(self.query, t, token)

        def logits(y):
            other, place = y if self.causal else (y, None)
            score = self.beta * jnp.vdot(looks, _apply(self.key, t, other))
            return jnp.where(place <= index, score, -jnp.inf) if self.causal else score

        reads = mu.mean((lambda y: y[0]) if self.causal else (lambda y: y), logits)
        velocity = _apply(self.value, t, reads)
        if self.normalization == "mean":
            velocity = jnp.exp(mu.logmean(logits)) * velocity
        return Rates((velocity, None) if self.causal else velocity)


def _apply(matrix: Matrix, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
    if matrix is None:
        return x
    return (matrix(t) if callable(matrix) else matrix) @ x

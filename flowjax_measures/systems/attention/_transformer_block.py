r"""A transformer's block: attention, then a perceptron, with normalisations where it has them.

With step h, attention A, perceptron F and normalisations N₁, N₂ of tokens,

    pre    y = x + h A(N₁x; N₁#μ),         x ← y + h F(N₂y)
    post   y = N₁(x + h A(x; μ)),          x ← N₂(y + h F(y))
    peri   y = x + h N₁(A(N₁x; N₁#μ)),     x ← y + h N₂(F(N₂y))

As a system it moves tokens by the block's displacement over h, so that Euler's steps of length h
are the blocks. Without normalisation they are a Lie–Trotter splitting of A + F, O(h) from its flow.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Positive
from ..._numerics import Checked
from ..._system import AbstractMeanField, motion
from ...measures import AbstractMeasure, Particles, Rates
from ._feed_forward import Vector
from ._matrices import at
from ._order import paired
from ._watched import matrix_of


class LayerNorm(Checked):
    r"""N(x) = g ⊙ (x − x̄)/√(Var x + ε) + b, mean and variance over the coordinates of a token.

    **Arguments:** `gain`: g, and `bias`: b, of shape (d,), or functions of time; `None` is 1 and 0.
    `epsilon`: ε.

    !!! example

        `fm.LayerNorm(gain=jnp.ones(3))`
    """

    gain: Vector = None
    bias: Vector = None
    epsilon: float = eqx.field(static=True, default=1e-5)

    def __call__(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        away = x - jnp.mean(x)
        y = away / jnp.sqrt(jnp.mean(away**2) + self.epsilon)
        y = y if self.gain is None else at(self.gain, t) * y
        return y if self.bias is None else y + at(self.bias, t)


class TransformerBlock(AbstractMeanField):
    r"""Attention *then* a perceptron, in place of their sum.

    **Arguments:**

    - `attention`, `feed_forward`: systems without noise, for example `SelfAttention` and
      `FeedForward`; their parameters may be functions of depth.
    - `norms`: N₁ and N₂, functions of (t, x) such as `LayerNorm()`; `None` is none.
    - `placement`: "pre", "post" or "peri".
    - `step`: h. A trained model has h = 1, and times are numbers of layers.

    Run it from particles by `layers(block, T, time=T * step)` or by Euler's steps dt = `step`.

    !!! example

        ```python
        block = fm.TransformerBlock(fm.SelfAttention(), fm.FeedForward(), step=1 / 48)
        fm.layers(block, 48)(tokens)
        ```
    """

    attention: AbstractMeanField
    feed_forward: AbstractMeanField
    norms: tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]] | None = None
    placement: Literal["pre", "post", "peri"] = eqx.field(static=True, default="pre")
    step: Positive = 1.0

    def __check_init__(self):
        if self.placement not in ("pre", "post", "peri"):
            raise ValueError(f'`placement` is {self.placement!r}; it is "pre", "post" or "peri".')

    def rates(self, t, x, mu):
        if not isinstance(mu, Particles):
            raise ValueError(
                f"A block's normalised tokens of a {type(mu).__name__} are no "
                f"{type(mu).__name__}; run it from `Particles`."
            )
        if paired(x):
            raise ValueError(
                "TransformerBlock was given points (token, label); give the tokens alone, in their "
                "order."
            )
        first, second = self.norms or (_same, _same)
        h = jnp.asarray(self.step, x.dtype)
        if self.placement == "post":
            y = first(t, x + h * motion(self.attention, t, x, mu))
            end = second(t, y + h * motion(self.feed_forward, t, y, mu))
            return Rates((end - x) / h)
        seen = mu.push(lambda z: first(t, z))
        moved = motion(self.attention, t, first(t, x), seen)
        y = x + h * (first(t, moved) if self.placement == "peri" else moved)
        moved = motion(self.feed_forward, t, second(t, y), mu)
        return Rates((y - x) / h + (second(t, moved) if self.placement == "peri" else moved))

    def weights(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Float[Array, "..."]:
        """The matrix of attention of the block at depth t, of tokens as it normalises them.

        **Returns:** shape (n, n), or (h, n, n) with heads.

        **Raises:** `ValueError` when `attention` has no such matrix.
        """
        if self.norms is not None and self.placement != "post":
            first = self.norms[0]
            mu = mu.push(lambda z: first(t, z))
        return matrix_of("attention", self.attention, mu, t)


def _same(t, x):
    return x

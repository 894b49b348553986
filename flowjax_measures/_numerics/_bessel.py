"""Ratios of modified Bessel functions, of any order and argument."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def bessel_ratios(beta: Float[Array, ""], order: float, count: int) -> Float[Array, " n"]:
    r"""r_n = I_{ν+n}(β) / I_{ν+n−1}(β) for n = 1, …, count and ν ≥ 0, of either sign of β.

    By r_n = β/(2(ν + n) + β r_{n+1}) downwards, which damps errors only where n is not far below β:
    so it starts from Amos' bound, r_n < β/(s + √(s² + β²)) with s = ν + n − ½, off by O(1/β²).
    """
    top = count + 400
    s = order + top + 0.5
    start = beta / (s + jnp.sqrt(s**2 + beta**2))

    def down(ratio, n):
        ratio = beta / (2 * (order + n) + beta * ratio)
        return ratio, ratio

    n = jnp.arange(top, 0, -1).astype(beta.dtype)
    return jax.lax.scan(down, start, n)[1][::-1][:count]

"""Roots and powers of what may be 0: derivative 0 there, and NaN stays NaN."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike


def safe_power(base: ArrayLike, exponent: ArrayLike) -> Array:
    """base^exponent, and 0 with derivative 0 where base ≤ 0 by round-off; NaN stays NaN."""
    # `base > 0` would be false at NaN, and make 0 of it.
    base = jnp.asarray(base)
    vanishes = base <= 0
    return jnp.where(vanishes, 0, jnp.where(vanishes, 1, base) ** exponent)


def safe_sqrt(square: ArrayLike) -> Array:
    """The square root, with derivative 0 at 0: a distance to itself has no direction."""
    square = jnp.asarray(square)
    vanishes = square <= 0
    return jnp.where(vanishes, 0, jnp.sqrt(jnp.where(vanishes, 1, square)))


def noise_size(variance: ArrayLike) -> Array:
    """The square root of a rate of variance: NaN where it is negative, as no noise has it."""
    variance = jnp.asarray(variance)
    vanishes = variance == 0
    return jnp.where(vanishes, 0, jnp.sqrt(jnp.where(vanishes, 1, variance)))

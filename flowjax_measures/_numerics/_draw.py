"""Draws of atoms by their masses, a number of comparisons each that grows as log N."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._custom_types import PRNGKey


def draw(key: PRNGKey, masses: Float[Array, " N"], n: int) -> Int[Array, " n"]:
    """`n` positions i with probabilities masses_i / Σ masses, by inverse cumulative sums.

    A row of √N atoms is drawn first and then an atom of the row, with a number of its own: a sum
    over millions of atoms in float32, and a uniform number of 23 bits, would miss small masses.
    Masses of zero are never drawn. Where the sum isn't a positive number positions mean nothing.
    """
    size = masses.size
    width = math.isqrt(max(size - 1, 0)) + 1
    rows = jnp.pad(masses, (0, -size % width)).reshape(-1, width)
    one, two = jax.random.split(key)
    row = _invert(jnp.cumsum(rows.sum(1))[None], jnp.zeros(n, int), one)
    column = _invert(jnp.cumsum(rows, 1), row, two)
    # Sums of rounded numbers may step where a mass is zero: the atom before is meant.
    positive = jnp.where(masses > 0, jnp.arange(size), -1)
    return jnp.maximum(jax.lax.cummax(positive)[jnp.minimum(row * width + column, size - 1)], 0)


def _invert(sums: Float[Array, "k m"], row: Int[Array, " n"], key: PRNGKey) -> Int[Array, " n"]:
    """For each row the first position whose cumulative sum is above a uniform share of all."""
    sums = jax.lax.cummax(sums, axis=1)
    goal = jax.random.uniform(key, row.shape, sums.dtype) * sums[row, -1]
    low, high = jnp.zeros_like(row), jnp.full_like(row, sums.shape[1] - 1)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        above = sums[row, middle] > goal
        return jnp.where(above, low, middle + 1), jnp.where(above, middle, high)

    # The last position is never ruled out, so that `low` ends at it at most.
    steps = max(sums.shape[1] - 1, 0).bit_length()
    low, _ = jax.lax.fori_loop(0, steps, halve, (low, high))
    return jnp.minimum(low, sums.shape[1] - 1)


def key_of(increments: Float[Array, " n"]) -> PRNGKey:
    """A key made of the bits of Brownian increments, for draws that are not Gaussian.

    Of noise keyed by the step they are as good as keys: a step taken twice draws the same numbers.
    """
    bits = jax.lax.bitcast_convert_type(jnp.pad(increments.ravel(), (0, 1)), jnp.uint32)
    return jax.random.wrap_key_data(bits.ravel()[:2], impl="threefry2x32")

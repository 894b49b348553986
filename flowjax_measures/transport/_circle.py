r"""Transport on the circle, exactly and without a matrix ([delon2010]).

    W_p^p = min_θ ∫_0^1 |Q_μ(s) − Q_ν(s + θ)|^p ds,   Q(s + 1) = Q(s) + L

for quantile functions on the line that covers the circle. The integral is convex in θ, and for
atoms its minimum is at a θ where a mass of one meets a mass of the other. It is found by the sign
of the slope, which is what the jumps of Q_ν add as they move.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._numerics import safe_power
from ._line import Pieces


def circle_power(
    mu: Pieces, nu: Pieces, length: Float[Array, ""], p: float | int
) -> Float[Array, ""]:
    """W_p^p of atoms in [0, L) of the circle of the given length."""

    def value(shift):
        """The integral, between all levels at which one of the quantile functions jumps."""
        moved = nu.levels[1:] - shift
        levels = jnp.sort(jnp.concatenate([mu.levels[1:], moved - jnp.floor(moved)]))
        steps = jnp.diff(levels, prepend=0)
        middle = levels - steps / 2
        gap = _cover(middle, mu, length) - _cover(middle + shift, nu, length)
        return jnp.sum(steps * safe_power(jnp.abs(gap), p))

    # Of each jump of Q_ν, which comes at s = level − θ, the atoms below and above it.
    above = jnp.concatenate([nu.low[1:], nu.low[:1] + length])

    def rises(shift):
        """Whether the integral does not fall to the right of θ."""
        here = _cover(nu.levels[1:] - shift, mu, length)
        up, down = (jnp.abs(here - atoms) ** p for atoms in (above, nu.low))
        return jnp.sum(up - down) >= 0

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        left = rises(middle)
        return jnp.where(left, low, middle), jnp.where(left, middle, high)

    one = jnp.ones((), mu.levels.dtype)
    # To the last digit of an interval of length two.
    halvings = jnp.finfo(one.dtype).nmant + 3
    low, high = jax.lax.fori_loop(0, halvings, halve, jax.lax.stop_gradient((-one, one)))
    return value(_meeting((low + high) / 2, mu.levels, nu.levels))


def _meeting(shift, one, two):
    """The θ next to `shift` where masses meet: it moves with the weights, as the optimum does."""
    level = one + shift
    level = level - jnp.floor(level)
    above = jnp.clip(jnp.searchsorted(two, level), 1, two.size - 1)
    up, down = two[above] - level, two[above - 1] - level
    nearest = jnp.where(jnp.abs(up) < jnp.abs(down), up, down)
    return shift + nearest[jnp.argmin(jnp.abs(nearest))]


def _cover(u, line: Pieces, length):
    """The quantile function of atoms, continued to the line that covers the circle."""
    turns = jnp.floor(u)
    index = jnp.searchsorted(line.levels, u - turns, side="left") - 1
    return line.low[jnp.clip(index, 0, line.low.size - 1)] + turns * length

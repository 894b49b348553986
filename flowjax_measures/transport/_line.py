r"""Transport on the line, exactly, by quantile functions.

    W_p^p = ∫_0^1 |Q_μ(u) − Q_ν(u)|^p du

Q is constant on the share of an atom, and linear on that of a cell of a grid, whose mass is spread
over it. That of a Gaussian is m + σ Φ⁻¹(u), which p = 2 meets in closed form.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import safe_power, safe_sqrt
from .._reduce import sort_order
from ..measures import Gaussian


class Pieces(NamedTuple):
    """A quantile function that is linear between levels, from `low` to `high` on each piece."""

    levels: Float[Array, " k1"]
    low: Float[Array, " k"]
    high: Float[Array, " k"]


def pieces(s: Float[Array, " n"], weights: Float[Array, " n"], width: FloatScalar = 0.0) -> Pieces:
    """The quantile function of atoms at s, or of cells of this width about s."""
    order = sort_order(s)
    s, w = s[order], weights[order]
    levels = jnp.concatenate([jnp.zeros(1, w.dtype), jnp.cumsum(w)])
    half = jnp.asarray(width, s.dtype) / 2
    # Round-off must not leave the last quantile outside.
    return Pieces(levels / levels[-1], s - half, s + half)


def line_power(mu: Pieces, nu: Pieces, p: float | int) -> Float[Array, ""]:
    """W_p^p."""
    levels = jnp.sort(jnp.concatenate([mu.levels[1:], nu.levels[1:]]))
    steps = jnp.diff(levels, prepend=0)
    middle = levels - steps / 2
    ends = [_ends(mu, middle, levels, steps), _ends(nu, middle, levels, steps)]
    first, last = (one - two for one, two in zip(*ends, strict=True))
    return jnp.sum(steps * _mean_power(first, last, p))


def gaussian_line_square(mu: Pieces, nu: Gaussian) -> Float[Array, ""]:
    """W₂² of a Gaussian: E X² + E Y² − 2 ∫ Q_μ Q_ν, of which the last is by parts."""
    c, share = mu.levels, jnp.diff(mu.levels)
    inside = (c > 0) & (c < 1)
    z = ndtri(jnp.where(inside, c, 0.5))
    # The density at the quantile, 0 at both ends.
    density = jnp.where(inside, jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), 0)
    overlap = jnp.where(inside, ndtr(math.sqrt(2) * z), jnp.round(c)) / (2 * math.sqrt(math.pi))
    held = share > 0
    slope = jnp.where(held, (mu.high - mu.low) / jnp.where(held, share, 1), 0)
    centre = (mu.low + mu.high) / 2
    second = share * (centre**2 + (mu.high - mu.low) ** 2 / 12)
    at_zero = mu.low - slope * c[:-1]
    cross = -at_zero * jnp.diff(density) + slope * (jnp.diff(overlap) - jnp.diff(c * density))
    sigma, m = safe_sqrt(nu.cov[0, 0]), nu.m[0]
    moments = jnp.sum(second) + m**2 + nu.cov[0, 0]
    return moments - 2 * (m * jnp.sum(share * centre) + sigma * jnp.sum(cross))


def _ends(mu: Pieces, middle, levels, steps):
    """Q at the lower and the upper end of each step, within the piece that holds its middle."""
    i = jnp.clip(jnp.searchsorted(mu.levels, middle, side="left") - 1, 0, mu.low.size - 1)
    share = mu.levels[i + 1] - mu.levels[i]
    held = share > 0
    slope = jnp.where(held, (mu.high[i] - mu.low[i]) / jnp.where(held, share, 1), 0)
    start = mu.low[i] + slope * (levels - steps - mu.levels[i])
    return start, start + slope * steps


def _mean_power(first, last, p: float | int):
    """The mean of |g|^p for g that runs evenly from `first` to `last`."""
    if p == 2:
        return (first**2 + first * last + last**2) / 3
    spread = last - first
    middle = jnp.abs((first + last) / 2)
    # Where g hardly changes the difference of two powers has no digits, and the middle has all.
    flat = jnp.abs(spread) < 1e-4 * middle
    even = (spread == 0) | flat
    rise = lambda g: g * safe_power(jnp.abs(g), p)  # noqa: E731
    steep = (rise(last) - rise(first)) / ((p + 1) * jnp.where(even, 1, spread))
    bend = p * (p - 1) / 24 * spread**2 * safe_power(middle, p - 2)
    return jnp.where(even, safe_power(middle, p) + jnp.where(flat, bend, 0), steep)

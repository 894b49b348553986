r"""Sums of |x − y|^r on the line, 0 < r < 2, by sums of exponentials over sorted points.

    |z|^r = (±1/|Γ(−r)|) ∫_0^∞ (e^{−s|z|} − 1 [+ s|z|]) s^{−1−r} ds      (+ and [ ] for r > 1)

The trapezium rule in log s, which is exact but for e^{−π²/h} at the step h, leaves some tens of
exponentials ([beylkin2010]): each is summed from neighbour to neighbour. Of slow ones, s|z| ≪ 1,
powers up to the fourth are kept, and of fast ones, s|z| ≫ 1, those that grow. What they miss is a
constant but at distances below the tolerance^{1/r}, so that differences of sums are better than it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import associative_scan
from jaxtyping import Array, Float

from ._sorted import sort_order

# Moments by which far atoms are seen: (1/4)^12 is 6e-8.
_TERMS = 12


class Exponentials(NamedTuple):
    """|z|^r ≈ Σ_k c_k (e^{−s_k|z|} − 1) + Σ_m b_m |z|^m for |z| ≤ 1."""

    rates: list[float]
    factors: list[float]
    powers: list[float]


def exponentials(r: float, tolerance: float, precision: float) -> Exponentials:
    """The sum for a power, good to the tolerance in numbers of that precision."""
    digits = math.log(1 / tolerance)
    h = math.pi**2 / (digits + 2)
    # Slower ones have factors that cost digits.
    slowest = max(tolerance ** (1 / (5 - r)), min(0.2, (precision / tolerance) ** (1 / r)))
    first, last = math.floor(math.log(slowest) / h), math.ceil(digits / r / h)
    scale = (1 if r > 1 else -1) * h / abs(math.gamma(-r))
    rates = [math.exp(k * h) for k in range(first, last + 1)]
    below = [math.exp((first - 1) * h * (m - r)) / -math.expm1(-h * (m - r)) for m in range(1, 5)]
    powers = [scale * (-1) ** m * below[m - 1] / math.factorial(m) for m in range(1, 5)]
    if r > 1:
        # The line that is taken off all exponentials.
        powers[0] = scale * rates[0] ** (1 - r) / -math.expm1(-h * (r - 1))
    return Exponentials(rates, [scale * s**-r for s in rates], powers)


def mean_power(
    x: Float[Array, ""],
    points: Float[Array, " n"],
    weights: Float[Array, " n"],
    r: float,
    tolerance: float,
) -> Float[Array, ""]:
    """∫ |x − y|^r μ(dy); what is summed over μ alone is summed once for a batch of x."""
    order = sort_order(points)
    s, w = points[order], weights[order]
    first, end = jax.lax.stop_gradient((s[0], s[-1]))
    centre, spread = (first + end) / 2, end - first
    # So that all distances of the near are at most one.
    width = jnp.where(spread > 0, 2.5 * spread, 1)
    s, x = (s - centre) / width, (x - centre) / width
    far = jnp.abs(x) * width > 2 * spread
    near = _near(jnp.where(far, 0, x), s, w, r, tolerance)
    return width**r * jnp.where(far, _far(jnp.where(far, x, 1), s, w, r), near)


def _far(x: Float[Array, ""], s: Float[Array, " n"], w: Float[Array, " n"], r: float) -> Array:
    """About the middle of atoms that are all nearer to it than |x|/4."""
    total, factor = jnp.zeros((), s.dtype), 1.0
    for m in range(_TERMS):
        total = total + factor * jnp.sign(x) ** m * jnp.abs(x) ** (r - m) * jnp.sum(w * s**m)
        factor *= -(r - m) / (m + 1)
    return total


def _near(
    x: Float[Array, ""], s: Float[Array, " n"], w: Float[Array, " n"], r: float, tolerance: float
) -> Array:
    """Of atoms in order, at distances up to one."""
    found = exponentials(r, tolerance, float(jnp.finfo(s.dtype).eps))
    fixed, place = jax.lax.stop_gradient((s, x))
    # Compiled, an atom and the point that is this atom may differ by round-off.
    same, last = 16 * jnp.finfo(s.dtype).eps, s.shape[0] - 1
    low = jnp.searchsorted(fixed, place - same, side="left")
    high = jnp.searchsorted(fixed, place + same, side="right")
    # Up to the neighbours on both sides; atoms at x itself have the derivative 0.
    to_left = jnp.where(low > 0, x - s[jnp.maximum(low - 1, 0)], 0)
    to_right = jnp.where(high <= last, s[jnp.minimum(high, last)] - x, 0)
    zero, gaps = jnp.zeros(1, s.dtype), jnp.diff(s)
    upto = lambda a: jnp.concatenate([zero, jnp.cumsum(a)])  # noqa: E731
    moments = [upto(w * s**m) for m in range(5)]
    apart = moments[0][-1] - (moments[0][high] - moments[0][low])

    def add(total, term):
        rate, factor = term
        decays = jnp.exp(-rate * gaps)
        left = jnp.concatenate([zero, _decayed(jnp.concatenate([zero, decays]), w)])
        right = _decayed(jnp.concatenate([zero, decays[::-1]]), w[::-1])[::-1]
        right = jnp.concatenate([right, zero])
        seen = jnp.exp(-rate * to_left) * left[low] + jnp.exp(-rate * to_right) * right[high]
        return total + factor * (seen - apart), None

    terms = tuple(jnp.asarray(a, s.dtype) for a in (found.rates, found.factors))
    total, _ = jax.lax.scan(add, jnp.zeros((), s.dtype), terms)
    # Σ w (x − y)^m of those below, and (y − x)^m of those above.
    sides = (1, [a[low] for a in moments]), (-1, [a[-1] - a[high] for a in moments])
    for m, factor in enumerate(found.powers, 1):
        for sign, part in sides:
            powers = [math.comb(m, k) * (-1) ** k * x ** (m - k) * part[k] for k in range(m + 1)]
            total = total + sign**m * factor * sum(powers)
    return total


def _decayed(decays: Float[Array, " n"], w: Float[Array, " n"]) -> Float[Array, " n"]:
    """a_j = decay_j a_{j−1} + w_j."""
    join = lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])  # noqa: E731
    return associative_scan(join, (decays, w))[1]

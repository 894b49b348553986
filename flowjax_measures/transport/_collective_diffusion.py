r"""Optimal incompressible collective diffusion on a circle, the relaxed problem ([brenier2026]).

    min Σ_a ∫_0^T ∫ w_a b_a² / (2 c_a) dx dt,   ∂_t c_a = ∂_xx b_a,   ∂_x Σ_a b_a = 0,

from c(0) to c(T), with Σ_a c_a = 1; for one phase alone without the last condition. Its dual is

    max Σ_a ∫ c_a(T) ζ_a(T) − c_a(0) ζ_a(0) dx,   ½ (∂_xx ζ_a + ∂_x Q)² + w_a ∂_t ζ_a ≤ 0.

Σ_a b_a = B(t) is constant in x but not zero: for two phases of weight one b = c B + b′ leaves
½ ∫ B² + b′²/(c(1 − c)), of which the term B² is often forgotten. With c = c(0) + ∂_xx s and
b = ∂_t s all constraints are solved, and a convex function of s is left: Newton's method. In time
1/c is the mean of its values at both ends of a step, which keeps all c positive.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from .._numerics._checks import check_positive
from ..measures import GridDensity
from ..measures._base import concrete

# The part of the action by which the dual may stay below it.
_OPEN = 1e-8
# What is left of the wall about c = 0 after a step.
_WALL = 0.3


class CollectiveDiffusion(NamedTuple):
    """The optimal c at steps + 1 times, b between them, the action, and the dual's value.

    `dual` is the value of a point that keeps the dual's constraint: the least action of the
    discrete problem lies between it and `action`.
    """

    concentrations: Float[Array, "times phases n"]
    momenta: Float[Array, "steps phases n"]
    action: FloatScalar
    dual: FloatScalar


def collective_diffusion(
    starts: GridDensity | Sequence[GridDensity],
    ends: GridDensity | Sequence[GridDensity],
    duration: Scalar = 1.0,
    weights: Sequence[float] | None = None,
    steps: int = 16,
    iterations: int = 200,
) -> CollectiveDiffusion:
    """The least action between concentrations on periodic grids of the line.

    **Arguments:** `starts`, `ends`: one positive density, or those of all phases, which sum to
    one. `duration`: T. `weights`: w > 0, ones by default. `steps`: of time. `iterations`: of
    Newton's method at most, on (steps − 1) × cells × phases unknowns; some thousand.

    **Raises:** `ValueError` where the phases don't sum to one, or masses change; `RuntimeError`
    where the gap to the dual is still open (values are NaN there in compiled code).
    """
    check_positive("duration", duration)
    c0, c1, side = _read(starts, ends)
    phases, n = c0.shape
    w = jnp.ones(phases, c0.dtype) if weights is None else jnp.asarray(weights, c0.dtype)
    h = duration / steps
    second = jnp.asarray(_second(n), c0.dtype) / side**2
    final = (c1 - c0) @ jnp.linalg.pinv(second)
    free = max(phases - 1, 1)

    def path(z):
        """s at all times; z holds the free phases inside and the constants at the end."""
        inside = z[: (steps - 1) * free * n].reshape(steps - 1, free, n)
        drift = z[(steps - 1) * free * n :]
        last = final[None, :free] + drift[:free, None]
        s = jnp.concatenate([jnp.zeros((1, free, n), z.dtype), inside, last])
        if phases == 1:
            return s
        # The last phase takes what the others leave, and a shift B(t) of its own.
        shift = jnp.concatenate([jnp.zeros(1, z.dtype), drift[free:]])
        return jnp.concatenate([s, shift[:, None, None] - jnp.sum(s, 1, keepdims=True)], axis=1)

    def fields(z):
        s = path(z)
        return c0 + s @ second, jnp.diff(s, axis=0) / h

    def action(z):
        c, b = fields(z)
        return h * side * jnp.sum(w[:, None] * b**2 * (1 / c[1:] + 1 / c[:-1]) / 4)

    def valid(z):
        return jnp.min(fields(z)[0]) > 0

    size = (steps - 1) * free * n + free + (steps if phases > 1 else 0)
    line = jnp.arange(1, steps, dtype=c0.dtype) / steps
    z = jnp.zeros(size, c0.dtype)
    # Linear in time, with the best constant flux: where c is small none should pass.
    inverse = 1 / c0[:free] + 1 / c1[:free]
    shift = -jnp.sum(final[:free] * inverse, axis=1) / jnp.sum(inverse, axis=1)
    started = final[:free] + shift[:, None]
    z = z.at[: (steps - 1) * free * n].set((line[:, None, None] * started).ravel())
    z = z.at[(steps - 1) * free * n : (steps - 1) * free * n + free].set(shift)

    def merit(z, barrier):
        """The action, with a wall about c = 0 that falls away: steps must not stick to it."""
        return action(z) - barrier * jnp.mean(jnp.log(fields(z)[0]))

    slope, curvature = jax.grad(merit), jax.hessian(merit)

    def improve(carry):
        count, z, _, barrier = carry
        matrix = curvature(z, barrier)
        # Round-off must not stop the last steps: the dual's value is of the first order in them.
        ceiling = merit(z, barrier) + 1e3 * jnp.finfo(z.dtype).eps * action(z)
        # Curvatures where c is small and large differ by its cube: each unknown in its own unit.
        unit = jnp.sqrt(jnp.diagonal(matrix))
        scaled = matrix / unit[:, None] / unit + 1e-14 * jnp.eye(size, dtype=z.dtype)
        move = -jnp.linalg.solve(scaled, slope(z, barrier) / unit) / unit

        def shorter(carry):
            return carry / 2

        def long(carry):
            trial = z + carry * move
            worse = ~valid(trial) | ~(merit(trial, barrier) <= ceiling)
            return worse & (carry > 1e-6)

        scale = jax.lax.while_loop(long, shorter, jnp.ones((), z.dtype))
        trial = z + scale * move
        z = jnp.where(valid(trial) & (merit(trial, barrier) <= ceiling), trial, z)
        lower = barrier * _WALL
        return count + 1, z, gap(z), jnp.where(lower > 1e-13 * action(z), lower, 0)

    def gap(z):
        c, b = fields(z)
        return action(z) - _dual(c, b, w, second, h, side)

    eps = jnp.finfo(z.dtype).eps
    closed = lambda z, wide, part: wide <= part * action(z) + eps * side * n  # noqa: E731
    _, z, wide, _ = jax.lax.while_loop(
        lambda carry: (carry[0] < iterations) & ~closed(*carry[1:3], 1e3 * eps),
        improve,
        (0, z, gap(z), 0.1 * action(z)),
    )
    solved = closed(z, wide, jnp.maximum(_OPEN, 1e5 * eps))
    if concrete(solved) and not bool(solved):
        raise RuntimeError(
            f"The gap between the action {float(action(z)):.6g} and its dual is {float(wide):.3g} "
            f"after {iterations} iterations. Give more `iterations`, or densities further from 0."
        )
    c, b = (jnp.where(solved, value, jnp.nan) for value in fields(z))
    value = jnp.where(solved, action(z), jnp.nan)
    return CollectiveDiffusion(c, b, value, value - wide)


def _dual(c, b, w, second, h, side):
    """The dual's value at potentials read off (c, b) and made to keep their constraint."""
    slopes = w[:, None] * b * (1 / c[1:] + 1 / c[:-1]) / 2
    inverse = jnp.linalg.pinv(second)
    # The harmonic mean of two concentrations is at most 2(θ² c + (1 − θ)² c′), here equal to it.
    before = c[1:] / (c[1:] + c[:-1])
    after = 1 - before

    def paid(slopes):
        """What the slopes cost at each time between the ends."""
        onward, back = (before * slopes)[1:] ** 2, (after * slopes)[:-1] ** 2
        return (onward + back) * h / w[:, None]

    falls = paid(slopes)
    zeta = slopes[:1] @ inverse
    zeta = jnp.concatenate([zeta, zeta - jnp.cumsum(falls, axis=0)])
    # ∂_xx ζ_a + ∂_x Q is the slope up to what is left of convergence, with one Q for all phases.
    bend = zeta @ second
    pull = jnp.mean(slopes - bend, axis=1, keepdims=True) if len(w) > 1 else 0.0
    slopes = bend + (pull - jnp.mean(pull, axis=-1, keepdims=True) if len(w) > 1 else 0.0)
    falls = paid(slopes)
    over = jnp.max(jnp.diff(zeta, axis=0) + falls, axis=-1, keepdims=True)
    zeta = zeta.at[1:].add(-jnp.cumsum(over, axis=0))
    ends = jnp.sum(zeta[-1] * c[-1] - zeta[0] * c[0])
    first, last = (before * slopes)[0] ** 2 * c[0], (after * slopes)[-1] ** 2 * c[-1]
    return side * (ends - h * jnp.sum((first + last) / w[:, None]))


def _second(n: int) -> np.ndarray:
    eye = np.eye(n)
    return np.roll(eye, 1, 0) + np.roll(eye, -1, 0) - 2 * eye


def _read(starts, ends):
    starts, ends = ([m] if isinstance(m, GridDensity) else list(m) for m in (starts, ends))
    grids = [*starts, *ends]
    if len(starts) != len(ends) or any(
        g.rho.shape != grids[0].rho.shape or g.rho.ndim != 1 or not g.periodic[0] for g in grids
    ):
        raise ValueError(
            "`starts` and `ends` differ in number or in their grids; give periodic grids of the "
            "line of one size, as many at the end as at the start."
        )
    c0, c1 = (jnp.stack([g.rho for g in group]) for group in (starts, ends))
    gap = jnp.max(jnp.abs(jnp.mean(c0 - c1, axis=1)))
    if len(starts) > 1:
        gap = jnp.maximum(gap, jnp.max(jnp.abs(jnp.sum(c0, 0) - 1)))
        gap = jnp.maximum(gap, jnp.max(jnp.abs(jnp.sum(c1, 0) - 1)))
    if concrete(gap) and not float(gap) < 1e-6:
        raise ValueError(
            f"`starts` and `ends` miss by {float(gap):.3g}: each phase keeps its mass, and several "
            "phases sum to one everywhere."
        )
    return c0, c1, grids[0].spacing[0]

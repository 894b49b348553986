r"""Optimal incompressible collective diffusion on a circle, the relaxed problem ([brenier2026]).

    min Σ_a ∫_0^T ∫ w_a b_a² / (2 c_a) dx dt,   ∂_t c_a = ∂_xx b_a,   ∂_x Σ_a b_a = 0,

from c(0) to c(T), with Σ_a c_a = 1; for one phase alone without the last condition. Its dual is

    max Σ_a ∫ c_a(T) ζ_a(T) − c_a(0) ζ_a(0) dx,   ½ (∂_xx ζ_a + ∂_x Q)² + w_a ∂_t ζ_a ≤ 0.

Σ_a b_a = B(t) is constant in x but not zero: for two phases of weight one b = c B + b′ leaves
½ ∫ B² + b′²/(c(1 − c)), of which the term B² is often forgotten. With c = c(0) + ∂_xx s and
b = ∂_t s all constraints are solved, and a convex function of s is left: Newton's method.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from ..measures import GridDensity
from ..measures._base import concrete


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
    iterations: int = 30,
) -> CollectiveDiffusion:
    """The least action between concentrations on periodic grids of the line.

    **Arguments:** `starts`, `ends`: one positive density, or those of all phases, which sum to
    one. `duration`: T. `weights`: w > 0, ones by default. `steps`: of time. `iterations`: of
    Newton's method, on (steps − 1) × cells × phases unknowns; some thousand.

    **Raises:** `ValueError` where the phases don't sum to one, or masses change.
    """
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
        middle = (c[1:] + c[:-1]) / 2
        return h * side * jnp.sum(w[:, None] * b**2 / (2 * middle))

    def valid(z):
        c = fields(z)[0]
        return jnp.min(c[1:] + c[:-1]) > 0

    size = (steps - 1) * free * n + free + (steps if phases > 1 else 0)
    line = jnp.arange(1, steps, dtype=c0.dtype) / steps
    z = jnp.zeros(size, c0.dtype)
    z = z.at[: (steps - 1) * free * n].set((line[:, None, None] * final[:free]).ravel())
    slope, curvature = jax.grad(action), jax.hessian(action)

    def improve(z, _):
        matrix = curvature(z)
        # Round-off must not stop the last steps: the dual's value is of the first order in them.
        ceiling = action(z) * (1 + 1e3 * jnp.finfo(z.dtype).eps)
        tiny = 1e-13 * jnp.trace(matrix) / size * jnp.eye(size, dtype=z.dtype)
        move = -jnp.linalg.solve(matrix + tiny, slope(z))

        def shorter(carry):
            return carry / 2

        def long(carry):
            trial = z + carry * move
            worse = ~valid(trial) | ~(action(trial) <= ceiling)
            return worse & (carry > 1e-6)

        scale = jax.lax.while_loop(long, shorter, jnp.ones((), z.dtype))
        trial = z + scale * move
        return jnp.where(valid(trial) & (action(trial) <= ceiling), trial, z), None

    z = jax.lax.scan(improve, z, length=iterations)[0]
    c, b = fields(z)
    return CollectiveDiffusion(c, b, action(z), _dual(c, b, w, second, h, side))


def _dual(c, b, w, second, h, side):
    """The dual's value at potentials read off (c, b) and made to keep their constraint."""
    slopes = w[:, None] * b / ((c[1:] + c[:-1]) / 2)
    inverse = jnp.linalg.pinv(second)
    falls = (slopes[1:] ** 2 + slopes[:-1] ** 2) * h / (4 * w[:, None])
    zeta = slopes[:1] @ inverse
    zeta = jnp.concatenate([zeta, zeta - jnp.cumsum(falls, axis=0)])
    # ∂_xx ζ_a + ∂_x Q is the slope up to what is left of convergence, with one Q for all phases.
    bend = zeta @ second
    pull = jnp.mean(slopes - bend, axis=1, keepdims=True) if len(w) > 1 else 0.0
    slopes = bend + (pull - jnp.mean(pull, axis=-1, keepdims=True) if len(w) > 1 else 0.0)
    falls = (slopes[1:] ** 2 + slopes[:-1] ** 2) * h / (4 * w[:, None])
    over = jnp.max(jnp.diff(zeta, axis=0) + falls, axis=-1, keepdims=True)
    zeta = zeta.at[1:].add(-jnp.cumsum(over, axis=0))
    ends = jnp.sum(zeta[-1] * c[-1] - zeta[0] * c[0])
    edges = jnp.sum((slopes[0] ** 2 * c[0] + slopes[-1] ** 2 * c[-1]) / w[:, None])
    return side * (ends - h / 4 * edges)


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

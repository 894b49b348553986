r"""Optimal incompressible collective diffusion on a torus, the relaxed problem ([brenier2026]).

    min Σ_a ∫_0^T ∫ w_a |b_a|² / (2 c_a) dx dt,   ∂_t c_a = ∇²:b_a,   ∇·Σ_a b_a = 0,

with symmetric matrices b, from c(0) to c(T), Σ_a c_a = 1; for one phase alone without the last
condition. Its dual is

    max Σ_a ∫ c_a(T) ζ_a(T) − c_a(0) ζ_a(0) dx,   ½ |∇²ζ_a + ∇_sym Q|² + w_a ∂_t ζ_a ≤ 0.

On the line Σ_a b_a = B(t) is constant in x but not zero: for two phases of weight one b = c B + b′
leaves ½ ∫ B² + b′²/(c(1 − c)), of which the term B² is often forgotten. One phase that is Gaussian,
with covariance Σ, stays so with b = ½ Σ̇ c and costs w |Σ(T) − Σ(0)|² / 8T.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import Count, FloatScalar, Scalar
from .._numerics import checked, jitted
from .._numerics._checks import check_positive
from ..measures import Gaussian, GridDensity
from ..measures._base import concrete
from ._admissible import check_density
from ._benamou_brenier import _linear, not_closed
from ._least_action import Action
from ._least_action_newton import least_action
from ._second_order import second_order


class CollectiveDiffusion(NamedTuple):
    """The optimal c at steps + 1 times, b between them, the action, and the dual's value.

    - `concentrations`: (times, phases, *cells). From Gaussians the Gaussians at these times.
    - `momenta`: b, (steps, phases, n) on the line; in the plane (steps, phases, 3, n_x, n_y) with
      b_xx and b_yy at the centres of cells and b_xy at their upper corners. From Gaussians ½ Σ̇.
    - `action`, `dual`: the least action of the discrete problem lies between `dual` and `action`.

    !!! example

        `fm.collective_diffusion(ball, fm.Gaussian(jnp.zeros(2), 2 * jnp.eye(2))).action`
    """

    concentrations: Any
    momenta: Any
    action: FloatScalar
    dual: FloatScalar


Phases = GridDensity | Gaussian | Sequence[GridDensity]


@checked
def collective_diffusion(
    starts: Phases,
    ends: Phases,
    duration: Scalar = 1.0,
    weights: Sequence[float] | None = None,
    steps: Count = 16,
    iterations: Count = 200,
) -> CollectiveDiffusion:
    """The least action between concentrations on periodic grids, or between two Gaussians.

    **Arguments:** `starts`, `ends`: one density ≥ 0, or those of all phases, which sum to one.
    `duration`: T. `weights`: w > 0, ones by default. `steps`: of time. `iterations`: of Newton's
    method at most, some 30 are usual; each takes (steps) · (cells · phases)³ operations. The action
    is differentiable once in the densities.

    **Raises:** `ValueError` where the phases don't sum to one, or masses or, between Gaussians,
    means change; `RuntimeError` where the gap to the dual is still open (values are NaN there in
    compiled code).

    !!! example

        `fm.collective_diffusion([c, d], [d, c], steps=8).action` exchanges two phases c + d = 1.
    """
    check_positive("duration", duration)
    phases: Any = [
        [m] if isinstance(m, GridDensity | Gaussian) else list(m) for m in (starts, ends)
    ]
    count = len(phases[0])
    w = np.ones(count) if weights is None else weights
    if len(w) != count or (concrete(w) and not np.all((np.asarray(w) > 0) & np.isfinite(w))):
        raise ValueError(
            f"`weights` is {weights}; give a finite number > 0 for each of {count} phases."
        )
    if any(isinstance(m, Gaussian) for group in phases for m in group):
        return _gaussians(phases[0], phases[1], duration, w[0], steps)
    _check(*phases)
    if steps < 2:
        raise ValueError(f"`steps` is {steps}; give at least 2.")
    found, gap = _solve(
        *phases, duration, jnp.asarray(w, phases[0][0].rho.dtype), steps, iterations
    )
    if concrete(found.action) and not np.isfinite(found.action):
        not_closed(gap, iterations)
    return found


@jitted
def _solve(starts, ends, duration, w, steps, iterations) -> tuple[CollectiveDiffusion, FloatScalar]:
    grid, phases = starts[0], len(starts)
    cells, dtype, volume, h = grid.rho.size, grid.rho.dtype, grid.cell, duration / steps
    start, end = (jnp.concatenate([m.rho.ravel() for m in ms]) for ms in (starts, ends))
    maps = second_order(grid)
    # ∇²:b moves mass, and b_xy counts twice in |b|².
    eye = jnp.eye(phases, dtype=dtype)
    flow, share = jnp.kron(eye, -volume * maps.divergence), jnp.kron(eye, maps.share)
    weight = 1 / (volume * jnp.kron(w, maps.count))
    kept = volume * jnp.eye(phases * cells, dtype=dtype)
    if phases > 1:
        rows = volume * jnp.tile(maps.rows, (1, phases))
        flow = jnp.concatenate([flow, rows])
        kept = jnp.concatenate([kept, jnp.zeros((len(rows), phases * cells), dtype)])
    problem = Action(
        start, end, kept, kept, flow, share, weight, jnp.zeros_like(start), None, _kernel(flow), h,
        volume, None, steps, _linear, None,
    )  # fmt: skip
    scale = volume * jnp.sum(w) * cells * jnp.sum((grid.upper - grid.lower) ** 4) / duration
    fixed = jax.lax.stop_gradient(problem)
    found = least_action(fixed, jax.lax.stop_gradient(scale), iterations)
    action = jnp.where(found.converged, problem.lagrangian(*found[:3]), jnp.nan)
    shape = grid.rho.shape
    c = fixed.path(found.rho).reshape(steps + 1, phases, *shape)
    parts = (3, *shape) if len(shape) == 2 else shape
    b = found.flux.reshape(steps, phases, *parts)
    c, b = (jnp.where(found.converged, value, jnp.nan) for value in (c, b))
    return CollectiveDiffusion(c, b, action, action - found.gap), found.gap


def _kernel(flow):
    """An orthonormal basis of the potentials with ∇²ζ + ∇_sym Q = 0."""
    values, vectors = jnp.linalg.eigh(flow @ flow.T)
    none = max(1e-9, 10 * float(jnp.finfo(flow.dtype).eps))
    return jnp.where(values < none * values[-1], vectors, 0).T


def _gaussians(starts, ends, duration, w, steps) -> CollectiveDiffusion:
    if len(starts) + len(ends) != 2 or not all(isinstance(m, Gaussian) for m in (*starts, *ends)):
        raise ValueError(
            "`starts` and `ends` hold a Gaussian beside a grid or another phase; give one Gaussian "
            "each, or grids."
        )
    (start,), (end,) = starts, ends
    if start.m.shape != end.m.shape:
        raise ValueError(
            f"`starts` and `ends` have {start.m.size} and {end.m.size} dimensions; give as many."
        )
    if concrete(start.m, end.m) and not np.allclose(start.m, end.m, atol=1e-6):
        raise ValueError(
            "`starts` and `ends` have different means, which no diffusion ∇²:b moves; give equal "
            "ones."
        )
    rate = (end.cov - start.cov) / duration
    action = w * duration * jnp.sum(rate**2) / 8
    times = [jnp.asarray(k / steps, start.cov.dtype) for k in range(steps + 1)]
    path = [Gaussian(start.m, (1 - t) * start.cov + t * end.cov) for t in times]
    return CollectiveDiffusion(path, rate / 2, action, action)


def _check(starts, ends) -> None:
    grids = [*starts, *ends]
    for name, group in (("starts", starts), ("ends", ends)):
        if not group or not all(isinstance(m, GridDensity) for m in group):
            raise ValueError(f"`{name}` is not a GridDensity, or some of them; give one or more.")
        for m in group:
            check_density(name, m)
    if len(starts) != len(ends) or any(
        g.rho.shape != grids[0].rho.shape or not all(g.periodic) or _elsewhere(g, grids[0])
        for g in grids
    ):
        raise ValueError(
            "`starts` and `ends` differ in number or in their grids; give periodic grids of one "
            "size, as many at the end as at the start."
        )
    if grids[0].rho.ndim > 2:
        raise ValueError("`starts` are grids of three dimensions; give one or two, or Gaussians.")
    c0, c1 = (jnp.stack([g.rho for g in group]) for group in (starts, ends))
    axes = tuple(range(1, c0.ndim))
    gap = jnp.max(jnp.abs(jnp.mean(c0 - c1, axis=axes)))
    if len(starts) > 1:
        gap = jnp.maximum(gap, jnp.max(jnp.abs(jnp.sum(c0, 0) - 1)))
        gap = jnp.maximum(gap, jnp.max(jnp.abs(jnp.sum(c1, 0) - 1)))
    if concrete(gap) and not float(gap) < 1e-6:
        raise ValueError(
            f"`starts` and `ends` miss by {float(gap):.3g}: each phase keeps its mass, and several "
            "phases sum to one everywhere."
        )


def _elsewhere(one: GridDensity, two: GridDensity) -> bool:
    walls = [np.concatenate([m.lower, m.upper]) for m in (one, two) if concrete(m.lower, m.upper)]
    return len(walls) == 2 and not np.allclose(walls[0], walls[1])

r"""Dynamic transport on grids, with obstacles, congestion and any concave mobility ([benamou2000]).

    W₂²(μ, ν) = min ∫_0^1 ∫ |m|² / ρ dx dt,   ∂_t ρ + ∇·m = 0,   ρ_0 = μ, ρ_1 = ν

M(ρ) in place of ρ is a nonlinear mobility ([dolbeault2009]); ρ ≤ b a bound on congestion; where
ρ = 0 is asked, an obstacle that mass goes around. Its dual is

    max 2 ∫ φ_1 dν − 2 ∫ φ_0 dμ,   ∂_t φ + ½|∇φ|² ≤ 0   (for M(ρ) = ρ).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar, Scalar
from .._numerics import checked, jitted, safe_power
from .._numerics._checks import check_positive
from ..measures import GridDensity
from ..measures._base import concrete
from ._admissible import check_density, check_mobility
from ._grid_flow import GridFlow, Obstacle, grid_flow, on_faces, on_grid
from ._least_action import Action
from ._least_action_newton import Optimum, least_action
from ._masses import comparable

Mobility = Callable[[FloatScalar], FloatScalar] | float | None


class BenamouBrenier(NamedTuple):
    """The optimal path between two densities.

    - `path`: densities at times k/steps. `flux`: m between them, through the upper faces of cells
      along each axis, which solves the discrete equation of continuity.
    - `cost`: ∫∫ |m|²/M(ρ), a square: W₂² for M(ρ) = ρ. `dual`: a number that no path undercuts.
      `gap`: how far they are apart.
    - `potential`: φ between times, with m = M(ρ)∇φ.
    - `converged`: whether the gap closed, to 1e-8 of the cost, or 3e-10 of the square of the
      grid's diagonal; else `cost` is NaN.

    !!! example

        `fm.benamou_brenier(grid, fm.GridDensity(grid.rho[::-1], 0.0, 1.0), steps=8).cost`
    """

    path: Float[Array, "times *cells"]
    flux: Float[Array, "steps d *cells"]
    cost: FloatScalar
    dual: FloatScalar
    gap: FloatScalar
    potential: Float[Array, "steps *cells"]
    converged: Any


@checked
def benamou_brenier(
    mu: GridDensity,
    nu: GridDensity,
    *,
    steps: Count = 16,
    obstacle: Obstacle = None,
    bound: Scalar | None = None,
    mobility: Mobility = None,
    iterations: Count = 100,
) -> BenamouBrenier:
    r"""The dynamic form of optimal transport between densities on a grid; `cost` is W₂² itself.

    Second order in the cells' sides and in time between smooth densities; first order where they
    jump. Newton's method takes some 20 steps of (steps) · (cells)³ operations: a hundred cells
    are quick, some hundred take minutes. `cost` is differentiable once in both densities.

    **Arguments:**

    - `mu`, `nu`: on the same grid of one or two dimensions, with walls or glued; of equal mass,
      `cost` is for a unit of it.
    - `steps`: of time.
    - `obstacle`: bools of the cells' shape, or a function of a point: cells that carry no mass.
    - `bound`: b, which both densities keep.
    - `mobility`: M, a concave function of the density with M(0) = 0, or a number α in (0, 1] for
      M = ρ^α; `None` is ρ.
    - `iterations`: of Newton's method at most.

    **Raises:** `ValueError` that names the argument, also where M is not concave; `RuntimeError`
    where the gap is still open (in compiled code `cost` is NaN, and `converged` says so).

    !!! example

        `fm.benamou_brenier(grid, fm.GridDensity(grid.rho[::-1], 0.0, 1.0), steps=16).cost`

        It is the square of `fm.wasserstein` of the two, up to the grid.
    """
    check_same_grid(mu, nu)
    if steps < 2:
        raise ValueError(f"`steps` is {steps}; give at least 2.")
    flow = grid_flow(mu, obstacle)
    check_open(flow, mu=mu, nu=nu)
    if bound is not None:
        check_positive("bound", bound)
        check_below(bound, mu=mu, nu=nu)
    law = concave(mobility, bound, mu=mu, nu=nu)
    found = _solve(mu, nu, flow, bound, law, steps, iterations)
    if concrete(found.converged) and not bool(found.converged):
        not_closed(found.gap, iterations)
    return found


@jitted
def _solve(mu, nu, flow: GridFlow, bound, mobility, steps, iterations) -> BenamouBrenier:
    mass = mu.mass()
    start, end = (m.rho.ravel()[flow.cells] for m in (mu, nu))
    end = end * (mass / nu.mass())
    size, volume = len(flow.cells), mu.cell
    move = volume * jnp.eye(size, dtype=start.dtype)
    problem = Action(
        start, end, move, move, jnp.asarray(flow.flow, start.dtype),
        jnp.asarray(flow.share, start.dtype), (volume / mu.spacing**2)[flow.faces[:, 0]],
        jnp.zeros_like(start), None, jnp.asarray(flow.parts, start.dtype), 1 / steps, volume,
        None if bound is None else jnp.asarray(bound, start.dtype), steps, mobility, None,
    )  # fmt: skip
    scale = mass * jnp.sum((mu.upper - mu.lower) ** 2)
    fixed = jax.lax.stop_gradient(problem)
    found = least_action(fixed, jax.lax.stop_gradient(scale), iterations)
    return _result(mu, problem, fixed, found, flow, mass)


def _result(mu, problem: Action, fixed: Action, found: Optimum, flow: GridFlow, mass):
    # The optimum is stationary: its derivative in the ends is that of the Lagrangian.
    value = jnp.where(found.converged, problem.lagrangian(*found[:3]), jnp.nan)
    shape, path = mu.rho.shape, fixed.path(found.rho)
    faces = on_faces(found.flux, flow.faces, shape)
    area = jnp.reshape(mu.spacing / mu.cell, (-1, *[1] * len(shape)))
    cost, gap = 2 * value / mass, 2 * found.gap / mass
    return BenamouBrenier(
        on_grid(path, flow.cells, shape), faces * area, cost, cost - gap, gap,
        on_grid(found.phi, flow.cells, shape), found.converged,
    )  # fmt: skip


def concave(
    mobility: Mobility, bound: Scalar | None, **ends: GridDensity
) -> Callable[[FloatScalar], FloatScalar]:
    """The function M; a number is a power."""
    if mobility is None:
        return _linear
    if callable(mobility):
        check_mobility(mobility, bound, ends)
        return mobility
    check_positive("mobility", mobility)
    if mobility > 1:
        raise ValueError(f"`mobility` is {mobility}; ρ^α is concave for α in (0, 1].")
    return _linear if mobility == 1 else _Power(float(mobility))


def _linear(rho):
    return rho


class _Power(NamedTuple):
    """ρ^α, compared by its exponent."""

    alpha: float

    def __call__(self, rho):
        return safe_power(rho, self.alpha)


def check_same_grid(mu: Any, nu: Any) -> None:
    """Refuses densities on different grids, and of different masses."""
    for name, m in (("mu", mu), ("nu", nu)):
        if not isinstance(m, GridDensity):
            raise ValueError(f"`{name}` is {type(m).__name__}; give a GridDensity.")
        check_density(name, m)
    walls = [np.concatenate([m.lower, m.upper]) for m in (mu, nu) if concrete(m.lower, m.upper)]
    if mu.rho.shape != nu.rho.shape or mu.periodic != nu.periodic or (
        len(walls) == 2 and not np.allclose(walls[0], walls[1])
    ):  # fmt: skip
        raise ValueError("`mu` and `nu` are on different grids; give the same cells for both.")
    comparable(mu, nu)


def check_open(flow: GridFlow, **ends: Any) -> None:
    """Refuses mass inside of an obstacle, and mass that cannot reach where it is wanted."""
    held = []
    for name, m in ends.items():
        if not concrete(m.rho):
            return
        rho = np.asarray(m.rho, np.float64).ravel()
        inside = rho.sum() - rho[flow.cells].sum()
        if inside > 1e-12 * rho.sum():
            raise ValueError(
                f"`{name}` has {inside / rho.sum():.3g} of its mass inside of the `obstacle`; give "
                "densities that are 0 there."
            )
        held.append(rho[flow.cells] / rho.sum())
    apart = max(abs((flow.parts > 0) @ (held[0] - held[-1])))
    if apart > 1e-6:
        raise ValueError(
            f"`obstacle` cuts the grid: {apart:.3g} of the mass has no way to where it is "
            "wanted; open a way, or give both densities the same mass on either side."
        )


def check_below(bound: Scalar, **ends: Any) -> None:
    """Refuses densities above the bound."""
    for name, m in ends.items():
        if concrete(m.rho, bound) and float(np.max(np.asarray(m.rho))) > float(bound) * (1 + 1e-9):
            raise ValueError(
                f"`bound` is {float(bound):g} and `{name}` has the density "
                f"{float(np.max(np.asarray(m.rho))):.6g}; give densities below the bound."
            )


def not_closed(gap, iterations: int) -> None:
    """Says what did not converge."""
    raise RuntimeError(
        f"The gap between the action and its dual is {float(gap):.3g} after {iterations} "
        "`iterations`. Give more of them, or densities that are smoother on the grid."
    )

r"""Potential mean-field games on grids: many agents, each at its best ([lasry2007], [benamou2017]).

    min ∫_0^T ∫ |m|²/(2M(ρ)) + Vρ + f(ρ) dx dt + ∫ g dρ_T,   ∂_t ρ + ∇·m = ε Δρ

Its optimality is the equilibrium of agents dX = −M′(ρ)∇u dt + √(2ε) dW with the value function u,

    −∂_t u − ε Δu + ½ M′(ρ) |∇u|² = V + f′(ρ),   u_T = g.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar, Point, Scalar
from .._numerics import checked, jitted
from .._numerics._checks import check_positive
from ..measures import GridDensity
from ..measures._base import concrete
from ._admissible import check_congestion, check_field
from ._benamou_brenier import (
    Mobility,
    check_below,
    check_open,
    check_same_grid,
    concave,
    not_closed,
)
from ._grid_flow import GridFlow, Obstacle, grid_flow, on_faces, on_grid
from ._least_action import Action
from ._least_action_newton import least_action

Running = Callable[[Point], FloatScalar]


class MeanFieldGame(NamedTuple):
    """The equilibrium.

    - `path`: densities at times kT/steps. `flux`: m between them, through the upper faces of cells.
    - `value`: the least cost; `dual`: a number below all costs; `gap`: how far they are apart.
    - `value_function`: u between times, what is still to be paid from there.
    - `converged`: whether the gap closed to 1e-8; else `value` is NaN.

    !!! example

        `fm.mean_field_game(grid, potential=f, steps=4)`
    """

    path: Float[Array, "times *cells"]
    flux: Float[Array, "steps d *cells"]
    value: FloatScalar
    dual: FloatScalar
    gap: FloatScalar
    value_function: Float[Array, "steps *cells"]
    converged: Any


@checked
def mean_field_game(
    mu: GridDensity,
    potential: Running | None = None,
    terminal: Running | None = None,
    *,
    nu: GridDensity | None = None,
    congestion: Callable[[FloatScalar], FloatScalar] | None = None,
    diffusion: Scalar = 0.0,
    duration: Scalar = 1.0,
    steps: Count = 16,
    obstacle: Obstacle = None,
    bound: Scalar | None = None,
    mobility: Mobility = None,
    iterations: Count = 100,
) -> MeanFieldGame:
    r"""The equilibrium of a potential mean-field game on a grid, with its duality gap.

    With `nu` and a `diffusion` alone it is the Schrödinger bridge; without both, and with `nu`,
    half of `benamou_brenier`. `value` is differentiable once in the densities.

    **Arguments:**

    - `mu`: ρ_0. `nu`: ρ_T, where the end is fixed; then there is no `terminal`.
    - `potential`: V(x), the running cost of being at x. `terminal`: g(x).
    - `congestion`: f(ρ), convex and finite at 0, such as `lambda rho: rho**2` or the entropy
      `lambda rho: jax.scipy.special.xlogy(rho, rho)`.
    - `diffusion`: ε. `duration`: T. `steps`: of time.
    - `obstacle`, `bound`, `mobility`, `iterations`: as of `benamou_brenier`.

    **Raises:** as `benamou_brenier`.

    !!! example

        `fm.mean_field_game(grid, lambda x: 8 * x @ x, terminal=lambda x: x @ x).value`
    """
    check_same_grid(mu, mu if nu is None else nu)
    if nu is not None and terminal is not None:
        raise ValueError("`nu` fixes the end, where `terminal` is a constant; leave one out.")
    if steps < 2:
        raise ValueError(f"`steps` is {steps}; give at least 2.")
    check_positive("duration", duration)
    if concrete(diffusion) and not 0 <= float(diffusion) < float("inf"):
        raise ValueError(f"`diffusion` is {diffusion}; give a finite number ≥ 0.")
    flow = grid_flow(mu, obstacle)
    ends = dict(mu=mu) if nu is None else dict(mu=mu, nu=nu)
    check_open(flow, **ends)
    if bound is not None:
        check_positive("bound", bound)
        check_below(bound, **ends)
    points = mu.centres().reshape(-1, mu.rho.ndim)[flow.cells]
    check_field("potential", potential, points)
    check_field("terminal", terminal, points)
    check_congestion(congestion, bound, ends)
    law = concave(mobility, bound, **ends)
    costs = potential, terminal, congestion
    found = _solve(mu, nu, flow, *costs, diffusion, duration, bound, law, steps, iterations)
    if concrete(found.converged) and not bool(found.converged):
        not_closed(found.gap, iterations)
    return found


@jitted
def _solve(
    mu, nu, flow: GridFlow, potential, terminal, congestion, diffusion, duration, bound, mobility,
    steps, iterations,
) -> MeanFieldGame:  # fmt: skip
    dtype, volume, mass = mu.rho.dtype, mu.cell, mu.mass()
    points = mu.centres().reshape(-1, mu.rho.ndim)[flow.cells]
    start = mu.rho.ravel()[flow.cells]
    end = None if nu is None else nu.rho.ravel()[flow.cells] * (mass / nu.mass())
    step = duration / steps
    maps = [jnp.asarray(m, dtype) for m in (flow.flow, flow.share, flow.parts)]
    weight = (volume / mu.spacing**2)[flow.faces[:, 0]]
    move = volume * jnp.eye(len(flow.cells), dtype=dtype)
    # The heat flow by the trapezoidal rule.
    heat = diffusion * step / 2 * (maps[0] * weight) @ maps[0].T

    def values(function):
        return jnp.zeros_like(start) if function is None else jax.vmap(function)(points)

    problem = Action(
        start, end, move - heat, move + heat, maps[0], maps[1], weight, values(potential),
        values(terminal) if nu is None else None, maps[2], step, volume,
        None if bound is None else jnp.asarray(bound, dtype), steps, mobility, congestion,
    )  # fmt: skip
    scale = mass * jnp.sum((mu.upper - mu.lower) ** 2) / duration
    fixed = jax.lax.stop_gradient(problem)
    found = least_action(fixed, jax.lax.stop_gradient(scale), iterations)
    value = jnp.where(found.converged, problem.lagrangian(*found[:3]), jnp.nan)
    shape = mu.rho.shape
    area = jnp.reshape(mu.spacing / volume, (-1, *[1] * len(shape)))
    return MeanFieldGame(
        on_grid(fixed.path(found.rho), flow.cells, shape),
        on_faces(found.flux, flow.faces, shape) * area, value, value - found.gap, found.gap,
        on_grid(-found.phi, flow.cells, shape), found.converged,
    )  # fmt: skip

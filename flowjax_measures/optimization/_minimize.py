"""`minimize`: consensus of many points behind one call."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._custom_types import Point, PRNGKey, Scalar
from ..measures import AbstractMeasure, Particles
from ..measures._base import concrete
from ..noise._noise import standard_normal
from ..systems.consensus import ConsensusBased, EffectiveSampleSize
from ._start import dimension_of, inside, placed, points, walls_of

_MESSAGES = (
    "The run has not ended.",
    "The points are in consensus.",
    "The target energy is reached.",
    "No progress within `patience` steps.",
    "The budget of evaluations is spent.",
    "The points left the finite numbers; take a smaller `dt` or `sigma`, or give bounds.",
)


class OptimizeResult(eqx.Module):
    """What `minimize` returns; under `vmap` every array has the runs' axis in front.

    - `x`: the best point found; `fun`: its value.
    - `nfev`, `nit`: evaluations of the objective and steps.
    - `success`: whether the points agreed, the target was met or progress ended, all at a finite
      value; false when the budget was spent first. It doesn't say that the minimum is global.
    - `status`: 1 consensus, 2 target, 3 no progress, 4 budget, 5 not finite; `message` in words.
    - `spread`: the root mean square distance to the consensus at the end.
    - `history`: what `observe` asked for, one entry a step, NaN (0 for integers) after the last.
    """

    x: Point
    fun: Float[Array, "..."]
    nfev: Int[Array, "..."]
    nit: Int[Array, "..."]
    success: Bool[Array, "..."]
    status: Int[Array, "..."]
    spread: Float[Array, "..."]
    history: PyTree

    @property
    def message(self) -> str | list[str]:
        """How the run ended, one sentence for each run."""
        if isinstance(self.status, Tracer):
            raise ValueError("`message` is text; read it outside of jit and vmap.")
        codes = np.asarray(self.status)
        return _MESSAGES[int(codes)] if codes.ndim == 0 else [_MESSAGES[i] for i in codes.ravel()]


def minimize(
    objective: Callable[[Point], Any],
    initial: Any = None,
    *,
    bounds: Any = None,
    key: PRNGKey,
    method: ConsensusBased | None = None,
    particles: int | None = None,
    spread: Scalar = 1.0,
    dt: float = 0.1,
    budget: int | None = None,
    tol: Scalar | None = None,
    target: Scalar | None = None,
    patience: int | None = None,
    resampling: Scalar | None = None,
    observe: PyTree[Callable[[AbstractMeasure], Any]] = None,
    callback: Callable[[Any, Any], None] | None = None,
    progress: bool = False,
) -> OptimizeResult:
    r"""Minimises a function of one point, without its derivative, by consensus of many points.

    The default method is `ConsensusBased(objective, 1.0, 2.7, EffectiveSampleSize(0.05),
    "anisotropic")` with 200 points, from ten dimensions on 20 d, and steps of 0.1, found by the
    study in `benchmarks/`: it has no scale of energies or lengths. On smooth functions with one
    basin, or ill-conditioned ones, try CMA-ES too, which learns the shape of the basin.

    The whole loop is one compiled program; `jax.vmap` over `key` makes independent runs, each of
    which keeps its state once it has stopped.

    **Arguments:**

    - `objective`: function of one point (an array or any pytree) to a scalar; NaN and +∞ forbid.
    - `initial`: a measure of points to start from (`Particles`, or one to sample), or one point,
      around which they are spread. May be left out where there are finite bounds.
    - `bounds`: `(lower, upper)` of the point's structure, or scalars beside `initial`; or as in
      scipy a sequence of pairs. A list of numbers is a vector. Points that leave are put on the
      wall.
    - `key`: a JAX key.
    - `method`: a `ConsensusBased` of its own choice of parameters.
    - `particles`: number of points, by default the larger of 200 and 20 d; a `Particles` given as
      `initial` has its own.
    - `spread`: standard deviation around a single `initial` point.
    - `dt`: the step, part of the algorithm.
    - `budget`: evaluations at most; default the larger of 100,000 and 10,000 d.
    - `tol`: consensus is a root mean square distance of `tol` times the first one; default 1e-6,
      in float32 3.5e-4, the width over which a smooth function is flat to round-off.
    - `target`: stops at a value at or below it.
    - `patience`: stops when the best value hasn't improved in so many steps.
    - `resampling`: in place of an end by consensus or patience, all points are moved by normals of
      this standard deviation, and the run goes on to its target or budget.
    - `observe`: pytree of functions of the measure, whose values at every step become `history`.
    - `callback`: host function `(nit, fun)`, called every step.
    - `progress`: whether to show a progress bar.

    !!! example

        ```python
        res = fm.minimize(rastrigin, bounds=(jnp.full(2, -5.0), jnp.full(2, 5.0)), key=jr.key(0))
        res.x, res.fun, res.message
        ```
    """
    start, run = jax.random.split(key)
    walls = None if bounds is None else walls_of(bounds, initial)
    dimension = dimension_of(initial, walls)
    mu = points(initial, walls, start, particles or max(200, 20 * dimension), spread)
    size = mu.size()
    if method is None:
        method = ConsensusBased(
            objective, 1.0, 2.7, EffectiveSampleSize(0.05), "anisotropic",
            # Multiplicative noise without walls has heavy tails: jumps end at the first width.
            truncation=None if walls is not None else _width(mu.x),
        )  # fmt: skip
    if resampling is not None and concrete(resampling) and not float(resampling) > 0:
        raise ValueError(f"`resampling` is {resampling}; give a standard deviation > 0, or None.")
    steps = (max(100_000, 10_000 * dimension) if budget is None else budget) // size
    if steps < 1:
        raise ValueError(f"`budget` is {budget}, less than one evaluation for {size} points.")
    if tol is None:
        tol = max(1e-6, float(jnp.finfo(jnp.result_type(*jax.tree.leaves(mu.x))).eps) ** 0.5)
    meter = diffrax.TqdmProgressMeter() if progress else diffrax.NoProgressMeter()
    shared = method.objective is objective
    return _minimize(
        objective, shared, method, mu, walls, run, dt, steps, tol, target, patience, resampling,
        observe, callback, meter,
    )  # fmt: skip


@eqx.filter_jit
def _minimize(
    objective, shared, method, mu, walls, key, dt, steps, tol, target, patience, resampling,
    observe, callback, meter,
):  # fmt: skip
    size = mu.size()
    dtype = jnp.result_type(*jax.tree.leaves(mu.x))
    method = jax.tree.map(lambda a: jnp.asarray(a, dtype) if type(a) is float else a, method)
    observe = {} if observe is None else observe

    def watch(x):
        return jax.tree.map(lambda f: f(placed(mu, x)), observe, is_leaf=callable)

    onto = jax.vmap(mu.space.project)

    def step(carry):
        x, best_x, best, stale, status, k, _, _, history, meter_state = carry
        time = dt * k.astype(dtype)
        energies = jax.vmap(objective)(x)
        weighing = energies if shared else jax.vmap(method.objective)(x)
        known = eqx.tree_at(lambda m: m.objective, method, _Known(method.objective, weighing))
        state = Particles(x, mu.log_w, block=size).numbered()
        energies = jnp.where(jnp.isnan(energies), jnp.inf, energies).astype(dtype)
        winner = jnp.argmin(energies)
        better = energies[winner] < best
        best_x = jax.tree.map(lambda a, b: jnp.where(better, a[winner], b), x, best_x)
        best = jnp.where(better, energies[winner], best)
        stale = jnp.where(better, 0, stale + 1)
        consensus = known.consensus(state, time)[0]
        width = _rms(x, consensus)
        increment = known(time, state)
        moved = jax.tree.map(lambda a, v: a + dt * v, x, onto(x, increment.drift.x[0]))
        if increment.noise is not None:
            draws = standard_normal(jax.random.fold_in(key, k), increment.noise.brownian())
            draws = jax.tree.map(lambda z: z * dt**0.5, draws)
            moved = jax.tree.map(jnp.add, moved, onto(x, increment.noise.apply(draws).x[0]))
        agreed = width <= tol * first
        lost = jnp.asarray(False) if patience is None else stale >= patience
        if resampling is not None:
            shaken = jax.random.fold_in(jax.random.fold_in(key, k), 1)
            kicks = standard_normal(shaken, jax.eval_shape(lambda: x))
            push = jnp.where(agreed | lost, jnp.asarray(resampling, dtype), 0)
            moved = jax.tree.map(lambda a, z: a + push * z, moved, kicks)
            stale = jnp.where(agreed | lost, 0, stale)
            agreed = lost = jnp.asarray(False)
        if walls is not None:
            moved = inside(moved, walls)
        moved = placed(mu, moved).retract().x
        history = jax.tree.map(lambda h, v: h.at[k].set(v), history, watch(x))
        if callback is not None:
            jax.debug.callback(callback, k, best)
        meter_state = meter.step(meter_state, (k + 1) / steps)
        status = jnp.where(k + 1 >= steps, 4, 0)
        status = jnp.where(lost, 3, status)
        if target is not None:
            status = jnp.where(best <= target, 2, status)
        status = jnp.where(agreed, 1, status)
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(moved)]))
        status = jnp.where(finite, status, 5)
        status, stale = jnp.int32(status), jnp.int32(stale)
        # What has stopped stays where it was found.
        x = jax.tree.map(lambda a, b: jnp.where(status == 0, a, b), moved, x)
        k = k + jnp.int32(1)
        return x, best_x, best, stale, status, k, width, consensus, history, meter_state

    first = _rms(mu.x, mu.mean())
    blank = jax.tree.map(lambda s: _blank(steps, s), jax.eval_shape(watch, mu.x))
    zero = jnp.zeros((), jnp.int32)
    carry = (
        mu.x, jax.tree.map(lambda a: a[0], mu.x), jnp.asarray(jnp.inf, dtype), zero, zero, zero,
        first, mu.mean(), blank, meter.init(),
    )  # fmt: skip
    carry = jax.lax.while_loop(lambda c: c[4] == 0, step, carry)
    _, best_x, best, _, status, nit, width, consensus, history, meter_state = carry
    meter.close(meter_state)
    if walls is not None:
        consensus = inside(consensus, walls)
    value = jnp.asarray(objective(consensus), dtype)
    better = value < best
    best_x = jax.tree.map(lambda a, b: jnp.where(better, a, b), consensus, best_x)
    best = jnp.where(better, value, best)
    success = (status >= 1) & (status <= 3) & jnp.isfinite(best)
    return OptimizeResult(best_x, best, size * nit + 1, nit, success, status, width, history)


class _Known(eqx.Module):
    """An objective whose values at the points of a numbered measure are known.

    The compiler doesn't see that two linear solves or two integrations are the same one.
    """

    objective: Callable[[Point], Any]
    values: Float[Array, " n"]

    def __call__(self, point):
        x, number = point
        return self.objective(x) if number is None else self.values[number]


def _blank(steps: int, like: jax.ShapeDtypeStruct) -> Array:
    value = jnp.nan if jnp.issubdtype(like.dtype, jnp.inexact) else 0
    return jnp.full((steps, *like.shape), value, like.dtype)


def _rms(x: PyTree, centre: Point) -> Float[Array, ""]:
    squares = jax.tree.map(lambda a, c: jnp.mean((a - c) ** 2), x, centre)
    return jnp.sqrt(jax.tree.reduce(jnp.maximum, squares))


def _width(x: PyTree) -> Float[Array, ""]:
    widths = jax.tree.map(lambda a: jnp.max(jnp.abs(a - jnp.mean(a, axis=0))), x)
    return jax.tree.reduce(jnp.maximum, widths)

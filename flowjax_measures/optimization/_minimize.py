"""`minimize`: consensus of many points behind one call."""

import os
from collections.abc import Callable
from typing import Any

from jaxtyping import PyTree

from .._custom_types import Count, PRNGKey, Scalar
from .._numerics import checked
from ..measures import AbstractMeasure
from ..spaces import AbstractSpace
from ._in_turn import in_turn
from ._result import OptimizeResult
from ._run import Files
from ._setup import Options


@checked
def minimize(
    objective: Callable[..., Any],
    initial: Any = None,
    *,
    bounds: Any = None,
    key: PRNGKey,
    method: Any = None,
    particles: Count | None = None,
    spread: Scalar = 1.0,
    dt: Scalar = 0.1,
    budget: Any = None,
    tol: Scalar | None = None,
    target: Scalar | None = None,
    patience: Any = None,
    deviation: Scalar | None = None,
    max_time: float | None = None,
    resampling: Scalar | None = None,
    restarts: int = 0,
    polish: str | None = None,
    boundary: str = "clip",
    constraints: Any = None,
    space: AbstractSpace | None = None,
    batch: Count | None = None,
    batch_moves: str = "all",
    exponential: bool = False,
    vectorized: bool = False,
    workers: Any = None,
    folder: str | os.PathLike | None = None,
    overwrite: bool = False,
    observe: PyTree[Callable[[AbstractMeasure], Any]] = None,
    callback: Callable[[Any, Any], None] | None = None,
    progress: bool = False,
) -> OptimizeResult:
    r"""Minimises a function of one point, without its derivative, by consensus of many points.

    By default a run opens with few points of the method "covariance", which learn the shape of a
    basin, for at most a fifth of the budget or 1000 d evaluations, until they agree; the rest is
    for "consensus", from new points: `ConsensusBased(objective, 1.0, 2.7,
    EffectiveSampleSize(0.05), "anisotropic")` with 200 points, from ten dimensions on 20 d, and
    steps of 0.1, found by the studies in `benchmarks/`: it has no scale of energies or lengths. Who
    says how points are taken or moved (`method`, `particles`, `Particles`, `batch`, `exponential`,
    `resampling`, `space`), or by `patience` when to stop, has that method alone.

    The whole loop is one compiled program; `jax.vmap` over `key` makes independent runs, each of
    which keeps its state once it has stopped.

    **Arguments:**

    - `objective`: function of one point (an array or any pytree) to a scalar; NaN and +∞ forbid.
      Any function in Python will do: what JAX cannot trace is called on the host, with NumPy
      arrays, and where it raises the point is forbidden. For "saddle" a function f(x, y) of two
      points, to be minimised over x and maximised over y; for "pareto" one with several values.
    - `initial`: a measure of points to start from (`Particles`, or one to sample), or one point,
      around which they are spread. May be left out where there are finite bounds. For "saddle" a
      pair of points. Arrays of integers in a pytree are labels, which stay.
    - `bounds`: `(lower, upper)` of the point's structure, or scalars beside `initial`; or as in
      scipy a sequence of pairs. A list of numbers is a vector.
    - `key`: a JAX key.
    - `method`: a consensus system of your own choice of parameters, or a name: "consensus",
      "covariance" (which learns the shape of a basin), "polarized" (several minima, read
      off `result.minima`), "memory", "mirror" (into the bounds by a sigmoid), "swarm", "adam",
      "sampling", "jumps", "saddle", "pareto" (`result.front`). An `EqualityConstraint` in a sum is
      one of `constraints`.
    - `particles`: number of points, by default the larger of 200 and 20 d, but so few, from 20 on,
      that a small `budget` is a hundred steps; a `Particles` given as `initial` has its own.
    - `spread`: standard deviation around a single `initial` point.
    - `dt`: the step, part of the algorithm. `exponential`: whether steps solve the pull exactly,
      X⁺ = c + (X − c)e^{−λh} + σ√h (…)ξ.
    - `budget`: evaluations at most; default the larger of 100,000 and 10,000 d. Where there is
      room, one of them is of the consensus at the end.
    - `tol`: consensus is a root mean square distance of `tol` times the first one; default 1e-6,
      in float32 3.5e-4, the width over which a smooth function is flat to round-off.
    - `target`: stops at a value at or below it.
    - `patience`: stops when the best value hasn't improved in so many steps; with `deviation` when,
      over so many steps, the lowest values of the steps have at most this standard deviation.
    - `resampling`: in place of an end by consensus or patience, all points are moved by normals of
      this standard deviation, and the run goes on to its target or budget.
    - `restarts`: how often to start again with twice the points, within the budget.
    - `polish`: "bfgs" descends from the best point at the end, between the walls, by derivatives of
      an objective that JAX traces. A fifth of the budget, at most 100 (d + 1), is kept for it, of
      which a value and a gradient are one evaluation each.
    - `max_time`: stops after so many seconds.
    - `boundary`: whether points that leave the bounds are put on the wall, "clip", or come back,
      "reflect".
    - `constraints`: `EqualityConstraint(g)`, scipy's dicts `{"type": "eq" | "ineq", "fun": g}`, its
      `NonlinearConstraint` or `LinearConstraint`, or a list of them; traceable. Every step ends
      with Newton's onto them, and points that miss them are forbidden.
    - `space`: where points live, with `initial` or `bounds`; `Particles` have their own.
    - `batch`: how many points, in turn, are evaluated and make the consensus of a step; "all" move
      by it, or the "batch" alone, as `batch_moves` says.
    - `vectorized`: whether `objective` takes all points at once, with a leading axis.
    - `workers`: an executor of `concurrent.futures` or its like (Dask, MPI), a function like `map`,
      or a number of threads: `objective` is called on the host, a point at a time.
    - `folder`: where every step is written. The same call, after it was killed, goes on from there
      and ends with the same bits; so does one with another `budget`, `target`, `tol` or `patience`
      after its end. An objective that JAX can't trace is known by its name alone.
    - `overwrite`: whether to begin anew where `folder` holds a run, this or another.
    - `observe`: pytree of functions of the measure, whose values at every step become `history`.
    - `callback`: host function `(nit, fun)`, called every step; an opening and restarts count from
      0 again.
    - `progress`: whether to show a progress bar.

    **Raises:** `ValueError` that names what cannot be meant.

    !!! example

        ```python
        res = fm.minimize(rastrigin, bounds=(jnp.full(2, -5.0), jnp.full(2, 5.0)), key=jr.key(0))
        res.x, res.fun, res.message
        ```
    """
    options = Options(
        bounds, method, particles, spread, dt, budget, tol, target, patience, deviation, resampling,
        boundary, constraints, space, batch, batch_moves, exponential, vectorized, workers, observe,
        callback,
    )  # fmt: skip
    return in_turn(
        objective, initial, key, options, restarts, polish, Files(folder, overwrite), max_time,
        progress,
    )  # fmt: skip

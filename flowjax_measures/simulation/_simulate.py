"""`simulate`: the one door through which a system and a measure become a trajectory."""

from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from .._custom_types import PRNGKey
from .._numerics import _memory, compiled
from .._system import AbstractMeanField, AbstractSystem, Averaged
from ..measures import Gaussian, Particles
from ..measures._base import is_measure
from ..storage._xarray import dataset
from . import _adaptive, _constant_step
from ._arguments import (
    check,
    check_noise,
    check_span,
    check_times,
    chosen_steps,
    fixed,
    real_dtype,
)
from ._brownian import Shapes, StepKeyed, silent
from ._method import Method, method
from ._progress import bar
from ._proper import proper
from ._recompiled import warn_of_new_functions
from ._request import Request
from ._schedule import Schedule, count_steps, schedule
from ._terms import Problem, pose
from ._transition import Transition, has_transition
from ._verdict import Results as Results, raised

# Above this many bytes of stored steps the default keeps √steps of them.
_STORED = 2**30


class Trajectory(eqx.Module):
    """What `simulate` returns.

    - `ts`: the times asked for, shape (T,); +inf after an event ended the run.
    - `ys`: the measures, or the observables, stacked over `ts`.
    - `final`: the last measure, at the last time or at the event.
    - `result`: how the run ended; `result == Results.successful` is all well.
    - `stats`: `num_steps`; `bad_time`, the time at which the state stopped being finite (+inf:
      never); `t_final`, the time of `final`.

    !!! example

        `fm.simulate(fm.MeanShift(), mu, [0.0, 1.0]).final.mean()`
    """

    ts: Float[Array, " T"]
    ys: PyTree
    final: Any
    result: Any
    stats: dict[str, Any]

    def __getitem__(self, species: str) -> "Trajectory":
        """The run of one species, or of one observable, by its name."""
        if not isinstance(self.ys, dict) or species not in self.ys:
            names = sorted(self.ys) if isinstance(self.ys, dict) else "no names"
            raise ValueError(f"`species` is {species!r}; this run holds {names}.")
        final = self.final[species] if isinstance(self.final, dict) else self.final
        return Trajectory(self.ts, self.ys[species], final, self.result, self.stats)

    def to_xarray(self, time: str = "time", particle: str = "particle") -> Any:
        """An `xarray.Dataset` of `ys`, with axes named `time`, `particle` and `<variable>_0`, ….

        Observables keep their names ("value" where there is one), measures give their fields.
        `to_xarray("draw", "chain")` is what ArviZ takes: every particle is a chain.
        """
        return dataset(self.ts, self.ys, time, particle)


def simulate(
    system: AbstractSystem,
    state: Any,
    ts: ArrayLike | Sequence[float | int],
    *,
    dt: float | int | None = None,
    steps: int | None = None,
    key: PRNGKey | None = None,
    observe: PyTree[Callable[[Any], Any]] = None,
    solver: diffrax.AbstractSolver | None = None,
    stepsize_controller: diffrax.AbstractStepSizeController | None = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
    remat: str | None = None,
    max_steps: int | None = None,
    event: diffrax.Event | Callable | None = None,
    throw: bool = True,
    progress: bool | diffrax.AbstractProgressMeter = False,
) -> Trajectory:
    r"""Runs a system from a state and observes it at the times `ts`.

    The type of the measure chooses the discretisation: `Particles` the interacting SDE,
    `Gaussian` its closure, `GridDensity` its Fokker–Planck equation.

    **Arguments:**

    - `system`: the law of motion.
    - `state`: a measure, a dict of measures, or any pytree of arrays that the system takes.
    - `ts`: increasing times, at least two; the state is given at `ts[0]`.
    - `dt`: the step. With it steps are constant, of the largest length ≤ `dt` that divides each
      interval of `ts`; without it, adaptive. Needed for noise, unless a `stepsize_controller` is
      given. A solver that is a scheme of its own step, `JKO(tau)`, brings it.
    - `steps`: in place of `dt`, the number of steps in each interval of `ts`, which may then be
      traced: end times under `jit`, `vmap` and `grad`, with noise too.
    - `key`: a JAX key, needed for noise. Step k (counted from time 0) has its own noise, so a run
      that goes on from `final` with the same `dt` and key is the uninterrupted run. A `Gaussian`
      is the law given the shared noise; without a key, the law over all noise, which is an ODE.
    - `observe`: a pytree of functions of the state; `ys` then holds their values only.
    - `solver`: a diffrax solver. Default: Tsit5 without noise, Euler(–Maruyama) for Itô noise,
      Heun for Stratonovich noise.
    - `stepsize_controller`: a diffrax controller; default
      PID with rtol 1e-8 and atol 1e-10 (float32: 1e-5, 1e-7).
    - `adjoint`: a diffrax adjoint; needs diffrax's own loop. For forward-mode derivatives of an
      adaptive run give `diffrax.ForwardMode()`. Constant steps need none, in both modes.
    - `remat`: what constant steps keep for the reverse pass: "none", "step", "sqrt" or
      "recursive". Default "step", "sqrt" where that would be over 1 GiB.
    - `max_steps`: bound on the number of adaptive steps; default 65,536.
    - `event`: a function `(t, state) -> bool or float` that ends the run when it turns true or
      changes sign (the time is then found to the accuracy of the steps), or a `diffrax.Event` of
      `(t, state, args, **kwargs)`.
    - `throw`: whether a failed run raises; else look at `result`.
    - `progress`: True for a progress bar, or a diffrax progress meter.

    **Raises:** `ValueError` that names the argument; `RuntimeError` for a run that failed.

    !!! example

        ```python
        tokens = fm.Particles(jr.normal(jr.key(0), (64, 8)), space=fm.Sphere()).retract()
        run = fm.simulate(fm.SelfAttention(beta=4.0), tokens, jnp.linspace(0, 10, 11), dt=0.05)
        ```
    """
    check(system, state, key, observe, remat, solver, event, stepsize_controller, adjoint)
    dtype = real_dtype(state)
    if dt is None and steps is None:
        dt = getattr(solver, "tau", None)
    stepsize_controller = chosen_steps(stepsize_controller, dt, steps)
    ts = check_times(ts, dt, steps)
    check_span(system, ts)
    if isinstance(progress, bool):
        progress = bar(progress)
    dt, times = planned(ts, dt, steps, dtype, stepsize_controller is None)
    asked = Request(
        system, state, dt, key, observe, fixed(solver), fixed(stepsize_controller), fixed(adjoint),
        fixed(event), progress, remat, max_steps,
    )  # fmt: skip
    trajectory = _run(asked, times, dtype)
    return raised(trajectory) if throw else trajectory


def planned(
    ts: Any, dt: Any, steps: int | None, dtype: Any, constant: bool = True
) -> tuple[Any, Schedule]:
    """The length of a step as it is taken, None for adaptive ones, and which steps they are."""
    if steps is not None:
        times = schedule(ts, np.full(ts.shape[0] - 1, steps, np.int64), dtype)
        return times.h[0], times
    if dt is None or not constant:
        return dt, schedule(ts, np.ones(ts.shape[0] - 1, np.int64), dtype)
    dt = float(dt)
    return np.asarray(dt, dtype), schedule(ts, count_steps(np.asarray(ts, float), dt), dtype, dt)


def method_of(asked: Request, origin: Any) -> tuple[Method, PyTree, Shapes | None]:
    """The method that a request asks for, the moving part of its state, and what noise eats."""
    system, state = asked.system, asked.state
    if asked.key is None and isinstance(state, Gaussian) and isinstance(system, AbstractMeanField):
        system = Averaged(system)
    problem, y0, shapes = pose(system, state, origin)
    # Noise that draws nothing still has its method's steps, where the steps are given.
    stochastic = shapes is not None and (asked.constant or not silent(shapes))
    shapes = None if silent(shapes) else shapes
    if shapes is not None:
        check_noise(asked.dt, asked.key, asked.controller)
    solver = asked.solver
    if solver is None:
        own = stochastic and asked.controller is None and has_transition(system, state)
        solver = Transition(problem) if own else _solver(system, stochastic, asked.controller)
    return method(solver, problem, y0, shapes), y0, shapes


@compiled
def _run(asked: Request, times: Schedule, dtype: Any) -> Trajectory:
    warn_of_new_functions(asked.system, asked.state, asked.observe)
    times = jax.tree.map(jnp.asarray, times)
    chosen, y0, shapes = method_of(asked, times.origin)
    # Schemes of ours know the index of a step too.
    chosen = eqx.tree_at(lambda c: c.problem.first, chosen, times.first[0])
    problem = chosen.problem
    watch = observer(problem, asked.observe)
    _check_memory(jax.eval_shape(watch, y0), asked.state, times.times.shape[0])

    if not asked.loop:
        keyed = None if shapes is None else StepKeyed(asked.key, shapes, chosen.levels)
        remat = asked.remat
        if remat is None:
            remat = "sqrt" if _memory.size(y0) * times.total > _STORED else "step"
        run = _constant_step.run(chosen, y0, times, keyed, watch, remat, asked.meter)
        result = where(jnp.isfinite(run.bad_time), Results.nonfinite, Results.successful)
        stats = {
            "num_steps": run.steps,
            "bad_time": problem.clock(run.bad_time),
            "t_final": problem.clock(times.times[-1]),
        }
        ts = problem.clock(times.times)
        return Trajectory(ts, run.ys, problem.merge(run.final), result, stats)
    ts, ys, final, result, stats = _adaptive.run(asked, chosen, y0, times, shapes, watch)
    # After a root that was not found diffrax holds a state that is none.
    rootless = (result == Results.nonlinear_divergence) | (
        result == Results.nonlinear_max_steps_reached
    )
    final = jax.tree.map(lambda a: jnp.where(rootless, jnp.nan, a).astype(a.dtype), final)
    nonfinite = ~proper(final, y0)
    stats["bad_time"] = jnp.where(nonfinite, stats["t_final"], jnp.inf)
    result = where(nonfinite & ~rootless, Results.nonfinite, result)
    return Trajectory(ts, ys, problem.merge(final), result, stats)


def where(condition: Array, one: Any, two: Any) -> Any:
    return Results.where(condition, one, two)


def observer(problem: Problem, observe: PyTree) -> Callable[[PyTree], PyTree]:
    def watch(y):
        state = problem.merge(problem.retract(y))
        if observe is None:
            # Numbers of the space (a torus' length) are stacked too: any slice is a measure.
            numbers = jax.tree.map(lambda a: jnp.asarray(a) if type(a) is float else a, state)
            return eqx.filter(numbers, eqx.is_array)
        return jax.tree.map(lambda f: _observed(f, state), observe, is_leaf=callable)

    return watch


def _check_memory(seen: PyTree, state: Any, count: int) -> None:
    """Refuses observations that cannot be kept, before anything is allocated."""
    meshes = {
        m.sharding
        for m in jax.tree.leaves(state, is_leaf=is_measure)
        if isinstance(m, Particles) and m.sharding
    }
    devices = max((m.mesh.size for m in meshes), default=1)
    need = count * _memory.size(seen) / devices
    if need > 2**30 and need > (free := _memory.free()):
        raise ValueError(
            f"`ts` and `observe` ask for {count} observations of {_memory.text(need / count)} each "
            f"on a device: {_memory.text(need)}, of which {_memory.text(free)} are free; nothing "
            "was allocated. Give fewer `ts`, or functions in `observe` with smaller values than "
            "the whole state."
        )


def _observed(function, state):
    try:
        seen = function(state)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise ValueError(
            "`observe` holds a function that needs numbers while it is compiled (float(), if, "
            "NumPy). Write it with jax.numpy, or apply it to `run.ys` after the run."
        ) from error
    wrong = [a for a in jax.tree.leaves(seen) if not eqx.is_array_like(a)]
    if wrong:
        raise ValueError(
            f"`observe` holds a function that returns {wrong[0]!r}; give functions of the state to "
            "numbers or arrays."
        )
    return seen


def _solver(system, stochastic, controller):
    if not stochastic:
        return diffrax.Tsit5()
    if system.calculus == "stratonovich":
        return diffrax.Heun()
    if controller is not None and not isinstance(controller, diffrax.StepTo):
        raise ValueError(
            "`solver`: the Euler–Maruyama method, the default for Itô noise, cannot choose its "
            "steps. Give `dt` and no `stepsize_controller`, or a solver with an error estimate."
        )
    return diffrax.Euler()

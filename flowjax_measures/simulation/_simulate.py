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
from .._numerics import _memory
from .._system import AbstractMeanField, AbstractSystem, Averaged
from ..measures import Gaussian, Particles
from ..measures._base import concrete, is_measure
from ..storage._xarray import dataset
from . import _adaptive, _constant_step
from ._arguments import check, check_noise, check_times
from ._recompiled import warn_of_new_functions
from ._terms import Problem, StepKeyed, pose, silent

# Above this many bytes of stored steps the default keeps √steps of them.
_STORED = 2**30


Results = diffrax.RESULTS
"""How a run ended. `nonfinite` is a state that became inf or NaN."""

# What to do about it, beside what diffrax says.
_ADVICE = {
    "nonfinite": "Take a smaller `dt`, or leave it out for adaptive steps; `event` ends a run "
    "before a blow-up.",
    "max_steps_reached": "Tolerances below the round-off of float32 (1e-7) are never met: enable "
    "float64 with jax.config.update('jax_enable_x64', True), or loosen them. A stiff system wants "
    "solver=diffrax.Kvaerno5().",
    "dt_min_reached": "The solution blows up in finite time, or jumps; `event` ends a run before.",
}


class Trajectory(eqx.Module):
    """What `simulate` returns.

    - `ts`: the times asked for, shape (T,); +inf after an event ended the run.
    - `ys`: the measures, or the observables, stacked over `ts`.
    - `final`: the last measure, at the last time or at the event.
    - `result`: how the run ended; `result == Results.successful` is all well.
    - `stats`: `num_steps`; `bad_time`, the time at which the state stopped being finite (+inf:
      never); `t_final`, the time of `final`.
    """

    ts: Float[Array, " T"]
    ys: PyTree
    final: Any
    result: Any
    stats: dict[str, Any]

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
    check(system, state, key, observe, remat)
    dtype = jnp.result_type(
        *[a for a in jax.tree.leaves(state) if eqx.is_inexact_array(a)] or [float]
    )
    dt = getattr(solver, "tau", None) if dt is None else dt
    ts = check_times(ts, dt)
    dt = None if dt is None else float(dt)
    if isinstance(progress, bool):
        progress = diffrax.TqdmProgressMeter() if progress else diffrax.NoProgressMeter()
    # Parameters given as Python floats are traced: a new value compiles nothing again. They stay
    # weakly typed, so that float32 states stay float32. Zeros stay, as they may leave terms out.
    system = jax.tree.map(lambda a: jnp.asarray(a) if type(a) is float and a != 0 else a, system)
    if concrete(ts):
        ts = tuple(np.asarray(ts, np.float64).tolist())
    trajectory = _run(
        system, state, ts, dt, key, observe, solver, stepsize_controller, adjoint, remat,
        max_steps, event, progress, dtype,
    )  # fmt: skip
    return _raise(trajectory) if throw else trajectory


@eqx.filter_jit
def _run(
    system, state, ts, dt, key, observe, solver, controller, adjoint, remat,
    max_steps, event, meter, dtype,
):  # fmt: skip
    warn_of_new_functions(system, state, observe)
    t0 = jnp.asarray(ts[0], dtype)
    if key is None and isinstance(state, Gaussian) and isinstance(system, AbstractMeanField):
        system = Averaged(system)
    problem, y0 = pose(system, state, t0)
    shapes = problem.brownian(t0, y0)
    # Noise that draws nothing still has its method's steps, where the steps are given.
    stepped = dt is not None and controller is None
    stochastic = shapes is not None and (stepped or not silent(shapes))
    shapes = None if silent(shapes) else shapes
    if shapes is not None:
        check_noise(dt, key, controller)
    if solver is None:
        solver = _solver(system, stochastic, controller)
    watch = _observer(problem, observe)
    _check_memory(jax.eval_shape(watch, y0), state, len(ts))

    loop = controller is not None or event is not None or adjoint is not None
    if dt is not None and not loop and not isinstance(solver, diffrax.AbstractImplicitSolver):
        path = None if shapes is None else StepKeyed(key, shapes)
        size = _memory.size(y0)
        if remat is None:
            steps = (ts[-1] - ts[0]) / dt
            remat = "sqrt" if size * steps > _STORED else "step"
        run = _constant_step.run(problem, solver, y0, np.asarray(ts), dt, path, watch, remat, meter)
        result = _where(jnp.isfinite(run.bad_time), Results.nonfinite, Results.successful)
        stats = {
            "num_steps": run.steps,
            "bad_time": run.bad_time,
            "t_final": jnp.asarray(ts[-1], dtype),
        }
        return Trajectory(jnp.asarray(ts, dtype), run.ys, problem.merge(run.final), result, stats)
    times, ys, final, result, stats = _adaptive.run(
        problem, solver, y0, ts, dt, key, shapes, watch, controller, adjoint, max_steps, event,
        meter, dtype,
    )  # fmt: skip
    nonfinite = ~_constant_step.finite(final)
    stats["bad_time"] = jnp.where(nonfinite, stats["t_final"], jnp.inf)
    result = _where(nonfinite, Results.nonfinite, result)
    return Trajectory(times, ys, problem.merge(final), result, stats)


def _where(condition: Array, one: Any, two: Any) -> Any:
    return Results.where(condition, one, two)


def _observer(problem: Problem, observe: PyTree) -> Callable[[PyTree], PyTree]:
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
        return function(state)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise ValueError(
            "`observe` holds a function that needs numbers while it is compiled (float(), if, "
            "NumPy). Write it with jax.numpy, or apply it to `run.ys` after the run."
        ) from error


def _solver(system, stochastic, controller):
    if not stochastic:
        return diffrax.Tsit5()
    if system.calculus == "stratonovich":
        return diffrax.Heun()
    if controller is not None:
        raise ValueError(
            "`solver`: the Euler–Maruyama method, the default for Itô noise, cannot choose its "
            "steps. Give `dt` and no `stepsize_controller`, or a solver with an error estimate."
        )
    return diffrax.Euler()


def _raise(trajectory: Trajectory) -> Trajectory:
    result = trajectory.result
    fine = (result == Results.successful) | (result == Results.event_occurred)
    bad_time = trajectory.stats["bad_time"]
    if concrete(fine, bad_time):
        if bool(jnp.all(fine)):
            return trajectory
        if jnp.ndim(bad_time) > 0:
            raise RuntimeError("A run of the batch failed; `throw=False` returns them all.")
        at = jnp.minimum(bad_time, trajectory.stats["t_final"])
        advice = [text for name, text in _ADVICE.items() if result == getattr(Results, name)]
        raise RuntimeError(
            " ".join([Results[result], f"It stopped at t = {at:.6g}.", *advice])
            + " `throw=False` returns the run as it is."
        )
    ys, final = result.error_if((trajectory.ys, trajectory.final), ~fine)
    return eqx.tree_at(lambda r: (r.ys, r.final), trajectory, (ys, final))

"""Adaptive steps, events, stiff and implicit solvers: diffrax's own loop."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array

from ._terms import Problem, Retracted, StepKeyed, terms


class _Path(eqx.Module):
    """Step-keyed noise read off times, for constant steps inside diffrax's loop."""

    steps: StepKeyed
    dt: float

    def __call__(self, t0, t1):
        return self.steps.increment(jnp.round(t0 / self.dt).astype(jnp.int32), t1 - t0)


def run(
    problem: Problem, solver, y0, ts, dt, key, shapes, watch, controller, adjoint, max_steps,
    event, meter, dtype,
):  # fmt: skip
    """Solves by `diffeqsolve`; returns times, observations, the last y, result and statistics."""
    ts = jnp.asarray(ts, dtype)
    t0, t1 = ts[0], ts[-1]
    constant = dt is not None and controller is None
    if constant:
        controller = diffrax.ConstantStepSize()
    elif controller is None:
        rtol, atol = (1e-8, 1e-10) if dtype == jnp.float64 else (1e-5, 1e-7)
        # A step of round-off size is a blow-up (or a jump): stop there and say so.
        dtmin = 100 * jnp.finfo(dtype).eps * jnp.maximum(jnp.abs(t0), jnp.abs(t1))
        controller = diffrax.PIDController(rtol=rtol, atol=atol, dtmin=dtmin, force_dtmin=False)
    path = None
    if shapes is not None:
        if dt is not None and constant:
            path = _Path(StepKeyed(key, shapes), dt)
        else:
            tree = diffrax.VirtualBrownianTree(
                t0, t1, tol=(1e-3 * dt if dt is not None else 1e-5), shape=shapes, key=key
            )
            path = lambda a, b: tree.evaluate(a, b)  # noqa: E731
    # diffrax fills what an event leaves out with inf, which whole numbers do not have.
    seen = jax.eval_shape(watch, y0)
    inexact = lambda a: jnp.issubdtype(a.dtype, jnp.inexact)  # noqa: E731
    floating = lambda a: a if inexact(jnp.asarray(a)) else jnp.asarray(a, dtype)  # noqa: E731
    solution = diffrax.diffeqsolve(
        terms(problem, solver, path),
        Retracted(solver, problem),
        t0=t0,
        t1=t1,
        dt0=dt,
        y0=y0,
        saveat=diffrax.SaveAt(
            subs=[
                diffrax.SubSaveAt(ts=ts, fn=lambda t, y, args: jax.tree.map(floating, watch(y))),
                diffrax.SubSaveAt(t1=True),
            ]
        ),
        stepsize_controller=controller,
        adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        event=None if event is None else _event(problem, event),
        max_steps=65_536 if max_steps is None else max_steps,
        throw=False,
        progress_meter=meter,
    )
    saved: Any = solution
    (times, t_final), (ys, final) = saved.ts, saved.ys
    ys = jax.tree.map(lambda a, s: _typed(a, s.dtype), ys, seen)
    final = problem.retract(jax.tree.map(lambda a: a[-1], final))
    stats = {"num_steps": solution.stats["num_steps"], "t_final": t_final[-1]}
    return times, ys, final, solution.result, stats


def _typed(a: Array, dtype: Any) -> Array:
    """Values in the type that was observed; 0 where there are none and no inf to say so."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return a
    return jnp.where(jnp.isfinite(a), a, 0).astype(dtype)


def _event(problem: Problem, event):
    """An event on states as an event on what the solver sees."""
    if not isinstance(event, diffrax.Event):
        function = event
        event = diffrax.Event(
            lambda t, state, args, **kwargs: function(t, state),
            root_finder=_Bracket(),  # pyright: ignore[reportCallIssue]
        )

    def wrap(condition):
        return lambda t, y, args, **kwargs: condition(t, problem.merge(y), args, **kwargs)

    return diffrax.Event(
        jax.tree.map(wrap, event.cond_fn, is_leaf=callable), event.root_finder, event.direction
    )


class _Interval(eqx.Module):
    lower: Array
    upper: Array
    positive: Array  # the function's sign at `lower`


class _Bracket(optx.AbstractRootFinder):
    """Bisection that stops when the time is known to round-off, however steep the function.

    optimistix's own stops only when the function is small too, which a blow-up never is.
    """

    rtol: float = 0.0
    atol: float = 0.0
    norm: Callable[[Any], Any] = optx.max_norm

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        lower = jnp.asarray(options["lower"], y.dtype)
        return _Interval(lower, jnp.asarray(options["upper"], y.dtype), fn(lower, args)[0] > 0)

    def step(self, fn, y, args, options, state, tags):
        value, aux = fn(y, args)
        before = (value != 0) & ((value > 0) == state.positive)
        lower, upper = jnp.where(before, y, state.lower), jnp.where(before, state.upper, y)
        return lower + (upper - lower) / 2, _Interval(lower, upper, state.positive), aux

    def terminate(self, fn, y, args, options, state, tags):
        width = state.upper - state.lower
        return width <= 4 * jnp.finfo(y.dtype).eps * jnp.abs(y), optx.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return y, aux, {}

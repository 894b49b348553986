"""Adaptive steps, events, stiff and implicit solvers: diffrax's own loop."""

import warnings
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array

from ._brownian import ByIndex, OfTree, Shapes, StepKeyed, brownian_tree
from ._method import Method
from ._request import Request
from ._schedule import Schedule
from ._terms import Problem, is_curved
from ._verdict import Results

# Checkpoints of the reverse pass. diffrax would take one for every √(2 max_steps); each is a copy
# of the state that is cleared at the start, and this many do a thousand steps in two sweeps.
_CHECKPOINTS = 48
_ROOT_FINDER = optx.AbstractRootFinder


def run(
    asked: Request, method: Method, y0: Any, times: Schedule, shapes: Shapes | None, watch: Callable
):
    """Solves by `diffeqsolve`; returns times, observations, the last y, result and statistics."""
    problem, dtype = method.problem, times.times.dtype
    t0, t1 = times.times[0], times.times[-1]
    controller: Any = asked.controller
    dt: Any = asked.dt
    constant = dt is not None and controller is None
    if constant:
        controller = diffrax.ConstantStepSize()
    elif controller is None:
        rtol, atol = (1e-8, 1e-10) if dtype == jnp.float64 else (1e-5, 1e-7)
        # A step of round-off size is a blow-up (or a jump): stop there and say so.
        dtmin = 100 * jnp.finfo(dtype).eps * (t1 - t0)
        controller = diffrax.PIDController(rtol=rtol, atol=atol, dtmin=dtmin, force_dtmin=False)
    else:
        controller = _later(controller, times.origin)
    dt = None if dt is None else jnp.asarray(dt, dtype)
    path = None
    if shapes is not None and constant:
        keyed = StepKeyed(asked.key, shapes, method.levels)
        path = ByIndex(keyed, times.first[0], dt, method.parted)
    elif shapes is not None:
        tol = 1e-5 if dt is None else 1e-3 * dt
        tree = brownian_tree(asked.key, shapes, method.levels, t1, tol)
        path = OfTree(tree)
    adjoint = asked.adjoint
    if adjoint is None:
        adjoint = diffrax.RecursiveCheckpointAdjoint(checkpoints=_CHECKPOINTS)
    solver: Any = _with_roots(method.solver, dtype) if constant else method.solver
    _check_adjoint(adjoint, asked.event, shapes is not None, is_curved(problem.merge(y0)))
    if isinstance(adjoint, diffrax.BacksolveAdjoint):
        solver = solver.solver  # It steps the state together with its derivatives.
    # diffrax fills what an event leaves out with inf, which whole numbers do not have.
    seen = jax.eval_shape(watch, y0)
    inexact = lambda a: jnp.issubdtype(a.dtype, jnp.inexact)  # noqa: E731
    floating = lambda a: a if inexact(jnp.asarray(a)) else jnp.asarray(a, dtype)  # noqa: E731
    saving, read = _saving(adjoint, times.times, lambda y: jax.tree.map(floating, watch(y)), y0)
    with warnings.catch_warnings():
        # diffrax warns of every complex state; the tests know that these are right.
        warnings.filterwarnings("ignore", "Complex dtype support")
        try:
            solution = diffrax.diffeqsolve(
                method.terms(path, y0),
                solver,
                t0=t0,
                t1=t1,
                dt0=dt,
                y0=y0,
                saveat=saving,
                stepsize_controller=controller,
                adjoint=adjoint,
                event=None if asked.event is None else _event(problem, asked.event),
                max_steps=65_536 if asked.max_steps is None else asked.max_steps,
                throw=False,
                progress_meter=asked.meter,
            )
        except RuntimeError as error:
            if "does not provide error estimates" not in str(error):
                raise
            name = type(asked.solver).__name__
            raise ValueError(
                f"`solver`: {name} has no estimate of its error, by which steps could be chosen. "
                "Take Tsit5 without noise, SPaRK or ShARK with it (all of diffrax); or give `dt` "
                "and no `stepsize_controller`."
            ) from None
    saved, t_final, ys, final = read(solution)
    result: Any = solution.result
    if isinstance(adjoint, diffrax.ImplicitAdjoint):
        # A run that ends before it comes to rest has not found the root of its field.
        unrested: Any = Results.nonlinear_max_steps_reached
        rest = (result == Results.event_occurred) | (result != Results.successful)
        result = Results.where(rest, result, unrested)
    ys = jax.tree.map(lambda a, s: _typed(a, s.dtype), ys, seen)
    stats = {
        "num_steps": solution.stats["num_steps"],
        "t_final": problem.clock(t_final),
    }
    return problem.clock(saved), ys, problem.retract(final), result, stats


def _check_adjoint(adjoint: Any, event: Any, noisy: bool, curved: bool) -> None:
    """Refuses an adjoint that would be another derivative, or none."""
    if isinstance(adjoint, diffrax.BacksolveAdjoint) and curved:
        raise ValueError(
            "`adjoint`: BacksolveAdjoint integrates backwards off a curved space, where the field "
            "is unstable. Leave `adjoint` out."
        )
    if isinstance(adjoint, diffrax.ImplicitAdjoint) and (noisy or event is None):
        raise ValueError(
            "`adjoint`: ImplicitAdjoint is the derivative of a steady state. Give a system without "
            "noise and event=diffrax.Event(diffrax.steady_state_event()), or leave `adjoint` out."
        )
    known = diffrax.RecursiveCheckpointAdjoint | diffrax.ForwardMode
    if noisy and not isinstance(adjoint, known):
        raise ValueError(
            f"`adjoint`: {type(adjoint).__name__} does not differentiate this run with noise "
            "(backwards in time Itô noise is another process). Leave `adjoint` out, or take "
            "diffrax.ForwardMode()."
        )


def _with_roots(solver: Any, dtype: Any) -> Any:
    """An implicit solver whose roots have tolerances: those of steps where there are none."""
    tol = 1e-8 if dtype == jnp.float64 else 1e-4

    def found(node):
        open_ended = isinstance(node, _ROOT_FINDER) and not jnp.isscalar(getattr(node, "rtol", 0.0))
        return optx.Newton(rtol=tol, atol=tol) if open_ended else node

    return jax.tree.map(found, solver, is_leaf=lambda node: isinstance(node, _ROOT_FINDER))


def _saving(adjoint: Any, ts: Array, watch: Callable, y0: Any) -> tuple[diffrax.SaveAt, Callable]:
    """What diffrax is told to save, and how to read off it times, the end, observations, final y.

    Two adjoints save states only, the one at given times, the other at the end.
    """
    last = lambda tree: jax.tree.map(lambda a: a[-1], tree)  # noqa: E731
    if isinstance(adjoint, diffrax.ImplicitAdjoint):
        if ts.shape[0] != 2:
            raise ValueError(
                "`adjoint`: ImplicitAdjoint is the derivative of a steady state, and knows nothing "
                "of times before it. Give two times in `ts`."
            )

        def read_end(solution):
            final = last(solution.ys)
            ys = jax.tree.map(lambda a, b: jnp.stack([a, b]), watch(y0), watch(final))
            return jnp.stack([ts[0], solution.ts[-1]]), solution.ts[-1], ys, final

        return diffrax.SaveAt(t1=True), read_end
    if isinstance(adjoint, diffrax.BacksolveAdjoint):

        def read_states(solution):
            final = last(solution.ys)
            return solution.ts, solution.ts[-1], jax.vmap(watch)(solution.ys), final

        return diffrax.SaveAt(ts=ts), read_states

    def read(solution):
        (times, t_final), (ys, final) = solution.ts, solution.ys
        return times, t_final[-1], ys, last(final)

    observed = diffrax.SubSaveAt(ts=ts, fn=lambda t, y, args: watch(y))
    return diffrax.SaveAt(subs=[observed, diffrax.SubSaveAt(t1=True)]), read


def _later(controller: Any, origin: Array) -> Any:
    """A controller whose own times count from the start of the run."""
    for name in ("ts", "step_ts", "jump_ts"):
        ts = getattr(controller, name, None)
        if ts is not None:
            moved = jnp.asarray(ts, origin.dtype) - origin
            controller = eqx.tree_at(lambda c, name=name: getattr(c, name), controller, moved)
    if isinstance(getattr(controller, "controller", None), diffrax.AbstractStepSizeController):
        inner = _later(controller.controller, origin)
        controller = eqx.tree_at(lambda c: c.controller, controller, inner)
    return controller


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

    wrap = lambda condition: _Condition(condition, problem)  # noqa: E731
    return diffrax.Event(
        jax.tree.map(wrap, event.cond_fn, is_leaf=callable), event.root_finder, event.direction
    )


class _Condition(eqx.Module):
    """A condition on states as one on what the solver sees."""

    condition: Callable
    problem: Problem

    def __call__(self, t, y, args, **kwargs):
        problem = self.problem
        value = jnp.asarray(self.condition(problem.clock(t), problem.merge(y), args, **kwargs))
        # diffrax compares it with a number of the default precision.
        return value.astype(float) if jnp.issubdtype(value.dtype, jnp.floating) else value


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

"""Adaptive steps, events, stiff and implicit solvers: diffrax's own loop."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx

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
        if constant:
            path = _Path(StepKeyed(key, shapes), dt)
        else:
            tree = diffrax.VirtualBrownianTree(
                t0, t1, tol=(1e-3 * dt if dt is not None else 1e-5), shape=shapes, key=key
            )
            path = lambda a, b: tree.evaluate(a, b)  # noqa: E731
    solution = diffrax.diffeqsolve(
        terms(problem, solver, path),
        Retracted(solver, problem),
        t0=t0,
        t1=t1,
        dt0=dt,
        y0=y0,
        saveat=diffrax.SaveAt(
            subs=[
                diffrax.SubSaveAt(ts=ts, fn=lambda t, y, args: watch(y)),
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
    (times, t_final), (ys, final) = solution.ts, solution.ys
    final = problem.retract(jax.tree.map(lambda a: a[-1], final))
    stats = {"num_steps": solution.stats["num_steps"], "t_final": t_final[-1]}
    return times, ys, final, solution.result, stats


def _event(problem: Problem, event):
    """An event on states as an event on what the solver sees."""
    if not isinstance(event, diffrax.Event):
        function = event
        event = diffrax.Event(
            lambda t, state, args, **kwargs: function(t, state), root_finder=_Bracket()
        )

    def wrap(condition):
        return lambda t, y, args, **kwargs: condition(t, problem.merge(y), args, **kwargs)

    return diffrax.Event(
        jax.tree.map(wrap, event.cond_fn, is_leaf=callable), event.root_finder, event.direction
    )


class _Bracket(optx.AbstractRootFinder):
    """Bisection that stops when the time is known to round-off, however steep the function.

    optimistix's own stops only when the function is small too, which a blow-up never is.
    """

    bisection: optx.Bisection = optx.Bisection(rtol=0.0, atol=0.0)

    @property
    def rtol(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.bisection.rtol

    @property
    def atol(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.bisection.atol

    @property
    def norm(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.bisection.norm

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        return self.bisection.init(fn, y, args, options, f_struct, aux_struct, tags)

    def step(self, fn, y, args, options, state, tags):
        return self.bisection.step(fn, y, args, options, state, tags)

    def terminate(self, fn, y, args, options, state, tags):
        width = jnp.abs(state.upper - state.lower)
        return width <= 4 * jnp.finfo(y.dtype).eps * jnp.abs(y), optx.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return self.bisection.postprocess(fn, y, aux, args, options, state, tags, result)

"""What `simulate` says of arguments that cannot be meant."""

import contextlib
import re
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from .._numerics import Constant
from .._system import AbstractMeanField, AbstractSystem, Custom
from ..measures._base import concrete, is_measure

_REMAT = ("none", "step", "sqrt", "recursive")


def check(
    system: Any,
    state: Any,
    key: Any,
    observe: Any,
    remat: Any,
    solver: Any = None,
    event: Any = None,
    controller: Any = None,
    adjoint: Any = None,
) -> None:
    """Raises a `ValueError` that names the argument which cannot be meant."""
    if isinstance(system, type) and issubclass(system, AbstractSystem):
        raise ValueError(
            f"`system` is the class {system.__name__}; give an instance, {system.__name__}(...)."
        )
    if not isinstance(system, AbstractSystem):
        raise ValueError(
            f"`system` is {type(system)}; give a system, for a function of one point "
            "`Custom(lambda t, x, mu: ...)`."
        )
    measures = [m for m in jax.tree.leaves(state, is_leaf=is_measure) if is_measure(m)]
    if isinstance(system, AbstractMeanField) and not measures:
        raise ValueError(
            f"`state` is {type(state)}; {type(system).__name__} moves a measure: give Particles(x) "
            "for points x of shape (n, d), a Gaussian or a GridDensity."
        )
    if isinstance(system, AbstractMeanField) and isinstance(state, dict):
        raise ValueError(
            f"`state` is a dict of {sorted(state)}, but {type(system).__name__} is the law of one "
            "population: give Species with a law for each name, or one measure."
        )
    kinds = (jax.dtypes.prng_key, np.uint32)
    if key is not None and not any(jnp.issubdtype(jnp.asarray(key).dtype, k) for k in kinds):
        raise ValueError(f"`key` is {key!r}; give a JAX key, jax.random.key(0).")
    typed = key is not None and jnp.issubdtype(jnp.asarray(key).dtype, jax.dtypes.prng_key)
    if key is not None and np.ndim(key) != (0 if typed else 1):
        raise ValueError(
            f"`key` holds keys of shape {np.shape(key)}; a run takes one. For several runs: "
            "jax.vmap(lambda key: simulate(..., key=key))(keys)."
        )
    if not all(map(callable, jax.tree.leaves(observe, is_leaf=callable))):
        raise ValueError(
            f"`observe` is {observe!r}; give functions of the state, for example "
            "dict(mean=lambda mu: mu.mean())."
        )
    if solver is not None and not isinstance(solver, diffrax.AbstractSolver):
        name = solver.__name__ if isinstance(solver, type) else None
        hint = f"an instance, {name}()" if name else "a diffrax solver, for example diffrax.Heun()"
        raise ValueError(f"`solver` is {solver!r}; give {hint}, or leave it out.")
    for name, value, kind in (
        ("stepsize_controller", controller, diffrax.AbstractStepSizeController),
        ("adjoint", adjoint, diffrax.AbstractAdjoint),
    ):
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"`{name}` is {value!r}; give an instance of one of diffrax's.")
    if event is not None and not (callable(event) or isinstance(event, diffrax.Event)):
        raise ValueError(
            f"`event` is {event!r}; give a function (t, state) to a bool or a number, or a "
            "diffrax.Event."
        )
    if remat is not None and remat not in _REMAT:
        raise ValueError(f"`remat` is {remat!r}; it is one of {_REMAT} or None.")
    for measure in measures:
        # Equinox makes a module of each method that is asked for by an instance.
        type(measure).check(measure)
    for leaf in jax.tree.leaves(_flowing(state)):
        if eqx.is_inexact_array(leaf) and concrete(leaf) and _holds_nan(leaf):
            raise ValueError(
                "`state` holds NaN or inf (of shape "
                f"{leaf.shape}); give an initial measure of finite values."
            )


@contextlib.contextmanager
def explained(system: Any, state: Any):
    """What goes wrong within a law, with the names of what its author gave."""
    try:
        yield
    except (TypeError, AttributeError, LookupError, ValueError) as error:
        if isinstance(error, KeyError) and isinstance(state, dict) and error.args[0] not in state:
            raise ValueError(
                f"`system` reads the species {error.args[0]!r}; `state` holds {sorted(state)}. "
                "Give a measure for each of the species."
            ) from error
        found = re.search(r"scalar-output functions. Output had shape: (\(.*?\))", str(error))
        if found is not None:
            given = ", ".join(f"`{name}`" for name in _functions(system)) or "a function of the law"
            raise ValueError(
                f"{type(system).__name__} differentiates a function that returns an array of shape "
                f"{found[1]}, of {given}: a potential, a kernel or an energy is one number for a "
                "point; sum over coordinates."
            ) from error
        if _speaks(system, error) or not is_measure(state):
            raise
        measure: Any = state
        points = jax.eval_shape(lambda: measure.atoms()[0])
        shown = jax.tree.map(lambda a: f"({', '.join(map(str, a.shape[1:]))})", points)
        raise ValueError(
            f"{type(system).__name__} was given points of shapes {shown} and stops at them: "
            f"{error} Give `state` points of the dimension and the form that its fields and "
            "functions take."
        ) from error


def _speaks(system: Any, error: Exception) -> bool:
    """Whether an error is about traced numbers, names an argument, or is of the reader's law."""
    about = jax.errors.JAXTypeError, jax.errors.JAXIndexError
    ours = type(system).__module__.startswith(f"{AbstractSystem.__module__.partition('.')[0]}.")
    return isinstance(error, about) or "`" in str(error) or not ours or isinstance(system, Custom)


def _functions(module: Any) -> list[str]:
    """The functions that a module and its parts were given, by the names of their fields."""
    found = []
    for name, value in vars(module).items():
        if isinstance(value, eqx.Module):
            found += [f"{name}.{inner}" for inner in _functions(value)]
        elif callable(value):
            found.append(name)
    return found


def _flowing(state: Any) -> list:
    """The parts of a state that move: a space may have walls at infinity."""
    nodes = jax.tree.leaves(state, is_leaf=is_measure)
    return [[getattr(m, name) for name in m.flows] if is_measure(m) else m for m in nodes]


def _holds_nan(leaf: Array) -> bool:
    # −inf is the logarithm of a mass of zero.
    values = np.asarray(leaf)
    return bool(np.any(np.isnan(values) | (values == np.inf)))


def check_span(system: Any, ts: Any) -> None:
    """Raises where a run goes beyond the times at which its law is defined."""
    if isinstance(ts, Tracer) or not concrete(system.span):
        return
    first, last = (float(t) for t in system.span)
    slack = 1e-6 * (1 + abs(float(ts[-1])))
    if float(ts[0]) < first - slack or float(ts[-1]) > last + slack:
        raise ValueError(
            f"`ts` goes from {float(ts[0]):g} to {float(ts[-1]):g}; {type(system).__name__} is "
            f"defined from {first:g} to {last:g}."
        )


def check_times(ts: Any, dt: Any, steps: Any = None) -> Any:
    """The times as a NumPy array, or traced; checks them, the step and the number of steps."""
    if steps is not None:
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
            raise ValueError(f"`steps` is {steps!r}; give a whole number of steps ≥ 1.")
        if dt is not None:
            raise ValueError("`dt` and `steps` are both given; leave one of them out.")
    if isinstance(ts, Tracer):
        if dt is not None:
            raise ValueError(
                "`ts` is traced, but steps of `dt` must know their number before compiling. Give "
                "`steps`, their number in each interval, in place of `dt`; or make `ts` outside of "
                "jit or with NumPy (np.linspace); or leave out `dt` for adaptive steps."
            )
    else:
        ts = np.asarray(ts)
        if ts.dtype.kind not in "iuf":
            raise ValueError(f"`ts` is of type {ts.dtype}; give numbers.")
        if ts.ndim == 1 and (not np.all(np.isfinite(ts)) or np.any(np.diff(ts) <= 0)):
            raise ValueError("`ts` must be finite and strictly increasing.")
    if ts.ndim != 1 or ts.shape[0] < 2:
        raise ValueError(
            f"`ts` has shape {ts.shape}; give at least two times, the first where the state is."
        )
    if dt is not None:
        if isinstance(dt, Tracer):
            raise ValueError(
                "`dt` is traced, but the number of steps must be known before compiling; give "
                "`steps` in place of it, with traced `ts`, or leave it out for adaptive steps."
            )
        if np.asarray(dt).dtype.kind not in "iuf" or not (np.ndim(dt) == 0 and 0 < dt < np.inf):
            raise ValueError(f"`dt` is {dt}; give one positive step.")
    return ts


def real_dtype(state: Any) -> np.dtype:
    """The real type of a state's moving numbers, in which time is counted."""
    leaves = [a for a in jax.tree.leaves(state) if eqx.is_inexact_array(a)]
    return np.dtype(jnp.finfo(jnp.result_type(*leaves or [float])).dtype)


def fixed(module: Any) -> Any:
    """A module of another library, whose floats may be more than numbers, as part of a program.

    Of its controller the tolerances are numbers and nothing else.
    """
    if module is None or type(module).__module__.startswith("flowjax_measures."):
        return module
    constant = jax.tree.map(lambda a: Constant(a) if type(a) is float else a, module)
    if isinstance(module, diffrax.PIDController):
        where = lambda c: (c.rtol, c.atol)  # noqa: E731
        return eqx.tree_at(where, constant, where(module))
    return constant


def chosen_steps(controller: Any, dt: Any, steps: Any) -> Any:
    """The controller, or None where it says no more than `dt`."""
    if isinstance(controller, diffrax.ConstantStepSize):
        if dt is None and steps is None:
            raise ValueError("`dt` is missing: ConstantStepSize() needs it.")
        return None
    if isinstance(controller, diffrax.StepTo) and dt is not None:
        raise ValueError("`dt` and StepTo(ts) both say what the steps are; leave `dt` out.")
    return controller


def check_noise(dt: Any, key: Any, controller: Any) -> None:
    """What a system with noise needs."""
    if key is None:
        raise ValueError("`key` is missing: this system has noise. Give key=jax.random.key(0).")
    if dt is None and controller is None:
        raise ValueError(
            "`dt` is missing: this system has noise. Give a constant step, or a "
            "`stepsize_controller` together with a solver that estimates its error."
        )

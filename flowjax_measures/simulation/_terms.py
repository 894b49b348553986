"""A system and a state as diffrax terms: one field, two controls, dt and dW."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._custom_types import FloatScalar
from .._numerics import jitted
from .._system import AbstractSystem
from ..measures import Particles
from ..measures._base import flowing, is_measure
from ..spaces import Euclidean
from ._arguments import explained
from ._brownian import ByIndex


class Problem(eqx.Module):
    """A system with the part of its state that stays; the rest, `y`, is what solvers see.

    Solvers count time from the start of the run, `origin`, whose step has the index `first`.
    """

    system: AbstractSystem
    held: PyTree
    origin: FloatScalar = 0.0
    first: Array | int = 0

    def merge(self, y: PyTree) -> Any:
        """The whole state."""
        return eqx.combine(y, self.held)

    def clock(self, t: Any) -> Any:
        """The system's time at a solver's time."""
        return t + self.origin

    def field(self, t: Any, y: PyTree) -> tuple[PyTree, Any]:
        """dy/dt and the noise of the whole state, at the nearest state of its space.

        Stages of a solver leave a curved space, where a field that is only defined on it may grow
        without bound; the state moves by the size of the local error, so that the order is kept.
        """
        increment = self.system(self.clock(t), _on_space(self.merge(y)))
        return like(y, increment.drift), increment.noise

    def retract(self, y: PyTree) -> PyTree:
        """`y` brought back onto its space."""
        return _retract(self.held, y)


def _retract(held: PyTree, y: PyTree) -> PyTree:
    back = lambda m: m.retract() if is_measure(m) else m  # noqa: E731
    return like(y, jax.tree.map(back, eqx.combine(y, held), is_leaf=is_measure))


def _started(held: PyTree, y: PyTree) -> PyTree:
    """`y` with points that are off their space, by more than round-off, brought back."""

    def settle(a, back):
        far = jnp.abs(back - a) > jnp.sqrt(jnp.finfo(a.dtype).eps) * (1 + jnp.abs(a))
        return jnp.where(jnp.any(far, axis=tuple(range(1, a.ndim)), keepdims=True), back, a)

    return jax.tree.map(settle, y, _retract(held, y))


def _on_space(state: Any) -> Any:
    back = lambda m: m.retract() if _has_space(m) else m  # noqa: E731
    return jax.tree.map(back, state, is_leaf=is_measure)


def _has_space(node: Any) -> bool:
    return isinstance(node, Particles) and not isinstance(node.space, Euclidean)


def is_curved(state: Any) -> bool:
    """Whether any particles of a state live on a space that stages of a solver may leave."""
    return any(map(_has_space, jax.tree.leaves(state, is_leaf=is_measure)))


def like(y: PyTree, tree: PyTree) -> PyTree:
    """The leaves of `tree` at the places where `y` has one, in the dtype of `y`."""
    is_none = lambda a: a is None  # noqa: E731

    def pick(a, b):
        if a is None:
            return None
        return jnp.zeros_like(a) if b is None else jnp.asarray(b, a.dtype)

    return jax.tree.map(pick, y, tree, is_leaf=is_none)


def pose(system: AbstractSystem, state: Any, t0: FloatScalar) -> tuple[Problem, PyTree, PyTree]:
    """Splits a state into what moves under the system and what stays.

    Also returns the shapes of the Brownian increments that the system eats; None without noise. A
    start that is off its space begins at the nearest point of it.
    """

    def look(state):
        with explained(system, state):
            drift, noise = system(t0, state)
        if noise is None:
            return drift, None
        return drift, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), noise.brownian())

    drift, shapes = eqx.filter_eval_shape(look, state)

    def weigh(measure, rate):
        grows = is_measure(measure) and any(
            getattr(measure, f) is None and getattr(rate, f) is not None for f in measure.flows
        )
        return measure.weighted() if grows else measure

    state = jax.tree.map(weigh, state, drift, is_leaf=is_measure)
    moves = jax.tree.map(lambda m, d: m and d is not None, flowing(state), drift)
    y, held = eqx.partition(state, moves)
    y = jax.tree.map(jnp.asarray, y)
    return Problem(system, held, t0), _started(held, y) if is_curved(state) else y, shapes


# Solvers trace the field many times; compiled functions are traced once for the same shapes.
@jitted
def _drift(problem: Problem, t: Any, y: PyTree) -> PyTree:
    return problem.field(t, y)[0]


@jitted
def _move(problem: Problem, t: Any, y: PyTree, control: tuple) -> PyTree:
    return _product(problem.field(t, y), control)


class Drift(eqx.Module):
    """dy/dt as a function of (t, y, args), for solvers that also ask what it is the drift of."""

    problem: Problem

    def __call__(self, t, y, args):
        return _drift(self.problem, t, y)


def _product(field: tuple[PyTree, Any], control: tuple) -> PyTree:
    (drift, noise), (dt, dw) = field, control
    move = jax.tree.map(lambda d: d * jnp.asarray(dt, d.dtype), drift)
    return jax.tree.map(jnp.add, move, like(drift, noise.apply(dw)))


class Term(diffrax.AbstractTerm):
    """dy = drift dt + noise dW, evaluated once a step."""

    problem: Problem
    path: Callable

    def vf(self, t, y, args):
        return self.problem.field(t, y)

    def contr(self, t0, t1, **kwargs):
        return t1 - t0, self.path(t0, t1, **kwargs)

    def prod(self, vf, control):
        return _product(vf, control)

    def vf_prod(self, t, y, args, control):
        return _move(self.problem, t, y, control)

    def is_vf_expensive(self, t0, t1, y, args):
        return True  # The field is an operator; only its products are arrays.


class NoiseTerm(diffrax.AbstractTerm):
    """The noise alone, for solvers that treat it apart from the drift."""

    problem: Problem
    path: Callable

    def vf(self, t, y, args):
        return self.problem.field(t, y)

    def contr(self, t0, t1, **kwargs):
        return self.path(t0, t1, **kwargs)

    def prod(self, vf, control):
        drift, noise = vf
        return like(drift, noise.apply(control))

    def is_vf_expensive(self, t0, t1, y, args):
        return True


class AdditiveTerm(diffrax.AbstractTerm):
    """Noise that depends on neither time nor state: its field is the number that scales it."""

    problem: Problem
    path: Callable
    y: PyTree

    def vf(self, t, y, args):
        return jnp.ones_like(jnp.asarray(t))

    def contr(self, t0, t1, **kwargs):
        return self.path(t0, t1, **kwargs)

    def prod(self, vf, control):
        drift, noise = self.problem.field(jnp.zeros_like(self.problem.origin), self.y)
        moved = like(drift, noise.apply(control))
        return jax.tree.map(lambda a: jnp.asarray(vf, a.dtype) * a, moved)


class Retracted(diffrax.AbstractWrappedSolver, diffrax.AbstractSolver):
    """A solver whose every step ends on the space.

    The distance moved is of the size of the local error, so the order is kept.
    """

    solver: diffrax.AbstractSolver
    held: PyTree
    """The part of the state that stays: adjoints must not find parameters of the field here."""

    @property
    def term_structure(self):
        return self.solver.term_structure

    @property
    def interpolation_cls(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.interpolation_cls

    @property
    def term_compatible_contr_kwargs(self):
        return self.solver.term_compatible_contr_kwargs

    @property
    def root_finder(self):
        return self.solver.root_finder  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def root_find_max_steps(self):
        return self.solver.root_find_max_steps  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def scan_kind(self):
        return getattr(self.solver, "scan_kind", "lax")

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        strong = self.solver.strong_order(terms)
        # diffrax knows noise by the class of its path; constant steps have a path of their own.
        by_index = lambda node: isinstance(node, ByIndex)  # noqa: E731
        noisy = any(map(by_index, jax.tree.leaves(terms, is_leaf=by_index)))
        return strong + 0.5 if noisy and strong else self.solver.error_order(terms)

    def init(self, terms, t0, t1, y0, args):
        return self.solver.init(terms, t0, t1, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        y1, *rest = self.solver.step(terms, t0, t1, y0, args, solver_state, made_jump)
        return _retract(self.held, y1), *rest

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)

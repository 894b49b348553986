"""A system and a state as a diffrax term: one field, two controls, dt and dW."""

import math
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._custom_types import FloatScalar, PRNGKey
from .._system import AbstractSystem
from ..measures._base import flowing, is_measure
from ..noise._normal_pairs import apart, normal_pairs


class Problem(eqx.Module):
    """A system with the part of its state that stays; the rest, `y`, is what solvers see."""

    system: AbstractSystem
    held: PyTree

    def merge(self, y: PyTree) -> Any:
        """The whole state."""
        return eqx.combine(y, self.held)

    def field(self, t: Any, y: PyTree) -> tuple[PyTree, Any]:
        """dy/dt and the noise of the whole state."""
        increment = self.system(t, self.merge(y))
        return like(y, increment.drift), increment.noise

    def retract(self, y: PyTree) -> PyTree:
        """`y` brought back onto its space."""
        state = jax.tree.map(
            lambda m: m.retract() if is_measure(m) else m, self.merge(y), is_leaf=is_measure
        )
        return like(y, state)

    def brownian(self, t: FloatScalar, y: PyTree) -> PyTree[jax.ShapeDtypeStruct] | None:
        """The shapes of the Brownian increments that the system eats; None without noise."""

        def shapes():
            noise = self.field(t, y)[1]
            if noise is None:
                return None
            return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), noise.brownian())

        return jax.eval_shape(shapes)


def silent(shapes: PyTree[jax.ShapeDtypeStruct] | None) -> bool:
    """Whether there is no Brownian motion to draw."""
    return all(math.prod(s.shape) == 0 for s in jax.tree.leaves(shapes))


def like(y: PyTree, tree: PyTree) -> PyTree:
    """The leaves of `tree` at the places where `y` has one, in the dtype of `y`."""
    is_none = lambda a: a is None  # noqa: E731

    def pick(a, b):
        if a is None:
            return None
        return jnp.zeros_like(a) if b is None else jnp.asarray(b, a.dtype)

    return jax.tree.map(pick, y, tree, is_leaf=is_none)


def pose(system: AbstractSystem, state: Any, t0: FloatScalar) -> tuple[Problem, PyTree]:
    """Splits a state into what moves under the system and what stays."""
    drift = eqx.filter_eval_shape(lambda s: system(t0, s).drift, state)

    def weigh(measure, rate):
        grows = is_measure(measure) and any(
            getattr(measure, f) is None and getattr(rate, f) is not None for f in measure.flows
        )
        return measure.weighted() if grows else measure

    state = jax.tree.map(weigh, state, drift, is_leaf=is_measure)
    moves = jax.tree.map(lambda m, d: m and d is not None, flowing(state), drift)
    y, held = eqx.partition(state, moves)
    return Problem(system, held), jax.tree.map(jnp.asarray, y)


# Solvers trace the field many times; compiled functions are traced once for the same shapes.
@eqx.filter_jit
def _drift(problem: Problem, t: Any, y: PyTree) -> PyTree:
    return problem.field(t, y)[0]


@eqx.filter_jit
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
    path: Callable[[Any, Any], PyTree]

    def vf(self, t, y, args):
        return self.problem.field(t, y)

    def contr(self, t0, t1, **kwargs):
        return t1 - t0, self.path(t0, t1)

    def prod(self, vf, control):
        return _product(vf, control)

    def vf_prod(self, t, y, args, control):
        return _move(self.problem, t, y, control)

    def is_vf_expensive(self, t0, t1, y, args):
        return True  # The field is an operator; only its products are arrays.


class NoiseTerm(diffrax.AbstractTerm):
    """The noise alone, for solvers that treat it apart from the drift."""

    problem: Problem
    path: Callable[[Any, Any], PyTree]

    def vf(self, t, y, args):
        return self.problem.field(t, y)

    def contr(self, t0, t1, **kwargs):
        return self.path(t0, t1)

    def prod(self, vf, control):
        drift, noise = vf
        return like(drift, noise.apply(control))

    def is_vf_expensive(self, t0, t1, y, args):
        return True


def terms(problem: Problem, solver: diffrax.AbstractSolver, path: Callable | None) -> Any:
    """The terms that a solver wants for this problem and Brownian path."""
    drift = diffrax.ODETerm(Drift(problem))
    if path is None:
        return drift
    if "MultiTerm" in str(solver.term_structure):
        return diffrax.MultiTerm(drift, NoiseTerm(problem, path))
    return Term(problem, path)


class StepKeyed(eqx.Module):
    """Brownian increments keyed by the integer index of a step of length h since time 0.

    The same key gives the same increments in any order, in reverse, on any number of devices and
    after a restart. Normals come in pairs: steps 2k and 2k + 1 are the parts of one draw, so that
    pairs are never of two points, which may live on two devices.
    """

    key: PRNGKey
    shapes: PyTree[jax.ShapeDtypeStruct] = eqx.field(static=True)
    offset: Int[Array, ""] | int = 0
    """The step from which a part of a longer run counts."""
    even: bool = eqx.field(static=True, default=False)
    """Whether `normals` is asked from even steps on only, which spares a pair."""

    def block(self) -> int:
        """How many steps to draw at once: enough for long vectors, few enough for the cache."""
        size = sum(math.prod(s.shape) for s in jax.tree.leaves(self.shapes))
        return min(max(2**14 // max(size, 1) // 2 * 2, 2), 64)

    def normals(self, indices: Int[Array, " steps"]) -> PyTree:
        """Standard normals of consecutive steps, stacked."""
        (steps,), first = indices.shape, indices[0] + self.offset
        count = (steps + 1) // 2 if self.even else steps // 2 + 1
        pairs = first // 2 + jnp.arange(count, dtype=first.dtype)
        leaves, structure = jax.tree.flatten(self.shapes)

        def draw(i, s):
            def one(pair):
                key = jax.random.fold_in(jax.random.fold_in(self.key, i), pair)
                return normal_pairs(key, math.prod(s.shape), s.dtype)

            z = apart(jax.vmap(one), pairs)
            z = jnp.stack([z.real, z.imag], axis=1).reshape(-1, *s.shape)
            start = 0 if self.even else first % 2
            return jax.lax.dynamic_slice_in_dim(z, start, steps).astype(s.dtype)

        return jax.tree.unflatten(structure, [draw(i, s) for i, s in enumerate(leaves)])

    def nothing(self, indices: Array) -> PyTree:
        """Zeros in place of normals."""
        return jax.tree.map(lambda s: jnp.zeros((indices.size, *s.shape), s.dtype), self.shapes)

    def increment(self, index: Array, h: FloatScalar) -> PyTree:
        """W(t + h) − W(t) over the step with this index."""
        normals = self.normals(jnp.asarray(index)[None])
        return scaled(jax.tree.map(lambda z: z[0], normals), h)


def scaled(normals: PyTree, h: FloatScalar) -> PyTree:
    """Brownian increments over a time h from standard normals."""
    return jax.tree.map(lambda z: z * jnp.sqrt(jnp.asarray(h, z.dtype)), normals)


class Retracted(diffrax.AbstractWrappedSolver, diffrax.AbstractSolver):
    """A solver whose every step ends on the space.

    The distance moved is of the size of the local error, so the order is kept.
    """

    solver: diffrax.AbstractSolver
    problem: Problem

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
        return self.solver.error_order(terms)

    def init(self, terms, t0, t1, y0, args):
        return self.solver.init(terms, t0, t1, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        y1, *rest = self.solver.step(terms, t0, t1, y0, args, solver_state, made_jump)
        return self.problem.retract(y1), *rest

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)

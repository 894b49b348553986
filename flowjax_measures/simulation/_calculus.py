r"""Itô and Stratonovich: which of the two a solver converges to, and the drift between them.

    dX = v dt + σ ∘ dW   is   dX = (v + ½ Σ_k (Dσ_k) σ_k) dt + σ dW.

Columns σ_k of shared noise are fields on the whole state. Noise of each point's own is taken at
all points at once, which is right where it does not see the other points: their increments are
independent, and its derivative along theirs is zero.
"""

import math
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from .._numerics import depends
from .._system import AbstractMeanField, AbstractSystem
from ..measures import Increment, Particles
from ..measures._base import flowing, replace
from ..noise import floating, parts
from ..noise._noise import NoiseField
from ._terms import Problem, like

# Columns of a noise whose parts nothing is known of.
_COLUMNS = 256

Calculus = Literal["ito", "stratonovich"]


def calculus_of(solver: diffrax.AbstractSolver) -> Calculus | None:
    """The calculus to which a solver of equations with noise converges; None for neither."""
    while isinstance(solver, diffrax.AbstractWrappedSolver):
        solver = solver.solver
    if isinstance(solver, diffrax.AbstractItoSolver):
        return "ito"
    if isinstance(solver, diffrax.AbstractStratonovichSolver):
        return "stratonovich"
    if isinstance(solver, diffrax.AbstractERK):
        return "stratonovich"  # Consistent with every smooth path, and so with their limit.
    # Schemes of ours are made of steps of Euler and Maruyama.
    ours = type(solver).__module__.startswith("flowjax_measures.")
    return "ito" if ours else None


def is_additive(problem: Problem, y: PyTree) -> bool:
    """Whether the noise depends on neither the state nor the time."""
    zero = jnp.zeros_like(jnp.asarray(problem.origin))
    if problem.field(zero, y)[1] is None:
        return True
    flat, unravel = ravel_pytree((zero, y))

    def move(z):
        t, state = unravel(z)
        noise = problem.field(t, state)[1]
        ones = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), noise.brownian())
        return [a for a in jax.tree.leaves(like(y, noise.apply(ones)))]

    return not depends(move, flat)


class Corrected(AbstractSystem):
    """A system in the other calculus: its drift changed by ½ Σ (Dσ_k) σ_k."""

    system: AbstractSystem
    sign: int = eqx.field(static=True)

    def __call__(self, t, state):
        drift, noise = self.system(t, state)
        moves = jax.tree.map(lambda m, d: m and d is not None, flowing(state), drift)
        move, held = eqx.partition(state, moves)

        def push(y, w):
            return like(y, self.system(t, eqx.combine(y, held)).noise.apply(w))

        def along(w):
            column = push(move, w)
            return jax.jvp(lambda y: push(y, w), (move,), (column,))[1]

        total = like(move, drift)
        for columns in _columns(noise):
            half = jax.tree.map(lambda a: a / 2 * self.sign, _summed(along, columns))
            total = jax.tree.map(jnp.add, total, half)
        return Increment(eqx.combine(total, drift), noise)


def _summed(function, columns: PyTree) -> PyTree:
    """Σ_k function(column k), one after the other."""

    def add(total, column):
        return jax.tree.map(jnp.add, total, function(column)), None

    first = jax.tree.map(lambda a: a[0], columns)
    blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(function, first))
    return jax.lax.scan(add, blank, columns)[0]


def _columns(noise: Any) -> list[PyTree]:
    """Increments, stacked, whose moves are the columns: those of all points' own noise at once."""
    shapes = noise.brownian()
    field = getattr(noise, "field", None)
    own = [False] * len(jax.tree.leaves(shapes))
    if isinstance(field, NoiseField):
        own = [
            not part.shared
            for part, tree in zip(field.parts, shapes, strict=True)
            for _ in jax.tree.leaves(tree)
        ]
    leaves, structure = jax.tree.flatten(shapes)
    found = []
    for i, (leaf, mine) in enumerate(zip(leaves, own, strict=True)):
        inner = leaf.shape[1:] if mine else leaf.shape
        size = math.prod(inner)
        unit = jnp.eye(size, dtype=leaf.dtype).reshape(size, *inner)
        if mine:
            unit = jnp.broadcast_to(unit[:, None], (size, *leaf.shape))
        others = [jnp.zeros((size, *s.shape), s.dtype) for s in leaves]
        others[i] = unit
        if size:
            found.append(jax.tree.unflatten(structure, others))
    return found


def converted(problem: Problem, y: PyTree, solver: diffrax.AbstractSolver) -> Problem:
    """The problem whose solution `solver` converges to is that of `problem`."""
    wanted, given = calculus_of(solver), problem.system.calculus
    if wanted == given or is_additive(problem, y):
        return problem
    name = type(solver).__name__
    if wanted is None:
        raise ValueError(
            f"`solver`: {name} converges to no known solution of equations with noise that depends "
            "on the state. Take diffrax.Euler() for Itô noise, diffrax.Heun() for Stratonovich."
        )
    if _sees_others(problem, y):
        raise ValueError(
            f"`solver`: {name} is for {_TITLE[wanted]} noise, that of the system is "
            f"{_TITLE[given]}, and the drift between them couples all points, since a point's own "
            f"noise depends on the measure. Take {_DEFAULT[given]}, or leave `solver` out."
        )
    # σ ∘ dW is σ dW + ½ Dσ σ dt.
    sign = 1 if given == "stratonovich" else -1
    return eqx.tree_at(lambda p: p.system, problem, Corrected(problem.system, sign))


_TITLE = {"ito": "Itô", "stratonovich": "Stratonovich"}
_DEFAULT = {"ito": "diffrax.Euler()", "stratonovich": "diffrax.Heun()"}


def _sees_others(problem: Problem, y: PyTree) -> bool:
    """Whether points' own noise depends on the measure, as far as can be told."""
    state, system = problem.merge(y), problem.system
    noise = problem.field(jnp.zeros_like(jnp.asarray(problem.origin)), y)[1]
    field = getattr(noise, "field", None)
    if not isinstance(field, NoiseField):
        sizes = (math.prod(s.shape) for s in jax.tree.leaves(noise.brownian()))
        return sum(sizes) > _COLUMNS
    if all(part.shared for part in field.parts):
        return False
    if not isinstance(system, AbstractMeanField) or not isinstance(state, Particles):
        return True
    x = jax.tree.map(lambda a: a[0], state.x)
    moving = (floating(state.x), state.log_weights())
    flat, unravel = ravel_pytree(moving)

    def own(z):
        points, log_w = unravel(z)
        mu = replace(state, x=eqx.combine(points, state.x), log_w=log_w)
        kept = [p for p in parts(system.rates(problem.origin, x, mu).noise) if not p.shared]
        ones = [jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), p.brownian(x)) for p in kept]
        return [jax.tree.leaves(p.apply(x, w)) for p, w in zip(kept, ones, strict=True)]

    try:
        return depends(own, flat)
    except ValueError:  # A law that asks for the place of its point.
        return True

"""Solvers that take a system in two parts: stiff and not, positions and momenta."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._system import AbstractSystem, Stiff, Sum
from ..spaces import Phase
from ._terms import Drift, Problem, like


def splits_sums(solver: diffrax.AbstractSolver) -> bool:
    """Whether a solver steps one part of the field in another way than the other."""
    theirs = diffrax.Sil3 | diffrax.KenCarp3 | diffrax.KenCarp4 | diffrax.KenCarp5
    return isinstance(solver, theirs) or getattr(solver, "splits_sums", False)


def two_drifts(problem: Problem, solver: Any) -> diffrax.MultiTerm:
    """The explicit and the implicit part of a sum: the stiff ones, else the last, are implicit."""
    summands = _summands(problem.system)
    stiff = [s for s in summands if isinstance(s, Stiff)]
    if len(summands) < 2 or len(stiff) == len(summands):
        raise ValueError(
            f"`solver`: {type(solver).__name__} steps one part of a sum of systems explicitly and "
            "the other in its own way. Give `a + Stiff(b)`; for a system in one part take "
            "diffrax.Kvaerno5()."
        )
    stiff = stiff or summands[-1:]
    soft = [s for s in summands if not any(s is other for other in stiff)]

    def drift(members):
        total = members[0]
        for member in members[1:]:
            total = total + member
        part = eqx.tree_at(lambda p: p.system, problem, total)
        return diffrax.ODETerm(Drift(part))

    return diffrax.MultiTerm(drift(soft), drift(stiff))


def _summands(system: AbstractSystem) -> list[Any]:
    if isinstance(system, Sum):
        return _summands(system.first) + _summands(system.second)
    return [system]


class PhaseSplit(diffrax.AbstractSolver):
    """A solver of pairs (q, p) on states whose moving leaves are all in `Phase(q, p)`.

    The field of one half is asked with the other half as it was at the start of the step, which
    is exact where q̇ depends on p and ṗ on q alone.
    """

    solver: Any

    term_structure = diffrax.AbstractTerm
    interpolation_cls = diffrax.LocalLinearInterpolation

    def order(self, terms):
        return self.solver.order(terms)

    def _terms(self, terms, y0, args):
        half = lambda pick: lambda z: jax.tree.map(pick, z, is_leaf=_is_phase)  # noqa: E731
        q, p = half(lambda z: z.q), half(lambda z: z.p)
        join = lambda a, b: jax.tree.map(  # noqa: E731
            lambda z, u, v: Phase(u, v), y0, a, b, is_leaf=_is_phase
        )
        forward = lambda t, other, args: q(terms.vf(t, join(q(y0), other), args))  # noqa: E731
        push = lambda t, other, args: p(terms.vf(t, join(other, p(y0)), args))  # noqa: E731
        return (diffrax.ODETerm(forward), diffrax.ODETerm(push)), (q(y0), p(y0)), join

    def init(self, terms, t0, t1, y0, args):
        nodes = jax.tree.leaves(y0, is_leaf=_is_phase)
        if not nodes or not all(map(_is_phase, nodes)):
            raise ValueError(
                f"`solver`: {type(self.solver).__name__} steps positions and momenta in turn; "
                "every moving leaf of the state must be in a `Phase(q, p)`."
            )
        pair, y, _ = self._terms(terms, y0, args)
        return self.solver.init(pair, t0, t1, y, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        pair, y, join = self._terms(terms, y0, args)
        (q, p), error, _, state, result = self.solver.step(
            pair, t0, t1, y, args, solver_state, made_jump
        )
        y1 = join(q, p)
        return y1, error, dict(y0=y0, y1=y1), state, result

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def _is_phase(node: Any) -> bool:
    return isinstance(node, Phase)


class LangevinSplit(diffrax.AbstractSolver):
    """diffrax's solvers of Langevin's equation with momentum, on the library's own system.

    dp = −γ p dt − u ∇f dt + √(2γu) dW with u = 1/β and f = βV.
    """

    solver: Any
    problem: Problem

    term_structure = diffrax.AbstractTerm
    interpolation_cls = diffrax.LocalLinearInterpolation

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def _terms(self, terms, y0, h):
        system: Any = self.problem.system
        friction, temperature, force = system.langevin
        state = self.problem.merge(y0)
        dtype = jnp.result_type(*jax.tree.leaves(y0))
        gamma, u = jnp.asarray(friction, dtype), jnp.asarray(temperature, dtype)
        slope = lambda q, args: jax.tree.map(lambda a: a / u, jax.vmap(force)(q))  # noqa: E731
        drift = diffrax.UnderdampedLangevinDriftTerm(gamma, u, slope)
        # diffrax checks the type of its path before it asks for anything.
        noise = diffrax.UnderdampedLangevinDiffusionTerm(
            gamma, u, _Momenta(terms.path, self.solver.minimal_levy_area)
        )
        return diffrax.MultiTerm(drift, noise), (state.x.q, state.x.p), state

    def init(self, terms, t0, t1, y0, args):
        pair, y, _ = self._terms(terms, y0, t1 - t0)
        return self.solver.init(pair, t0, t1, y, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        pair, y, state = self._terms(terms, y0, t1 - t0)
        (q, p), _, _, carried, result = self.solver.step(
            pair, t0, t1, y, args, solver_state, made_jump
        )
        y1 = like(y0, eqx.tree_at(lambda s: s.x, state, Phase(q, p)))
        return y1, None, dict(y0=y0, y1=y1), carried, result

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


class _Momenta(diffrax.AbstractBrownianPath):
    """The part of the points' Brownian motion that shakes momenta."""

    path: Any
    levy_area: Any = eqx.field(static=True)

    @property
    def t0(self):
        return -jnp.inf

    @property
    def t1(self):
        return jnp.inf

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        whole = self.path(t0, t1, use_levy=use_levy)
        pick = lambda tree: tree[0].p  # noqa: E731
        if not use_levy:
            return pick(whole)
        parts = {n: pick(getattr(whole, n)) for n in ("dt", "W", "H", "K") if hasattr(whole, n)}
        return type(whole)(**parts)


def langevin_solver(solver: Any, problem: Problem, y: PyTree) -> LangevinSplit:
    """The solver on the library's system, or an error that says what to take."""
    state = problem.merge(y)
    if not hasattr(problem.system, "langevin") or not isinstance(getattr(state, "x", None), Phase):
        raise ValueError(
            f"`solver`: {type(solver).__name__} is for UnderdampedLangevin from "
            "Particles(Phase(q, p)). Take LangevinSplitting(friction) or leave `solver` out."
        )
    return LangevinSplit(solver, problem)

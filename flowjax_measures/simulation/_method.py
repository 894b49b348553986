"""A solver matched to a problem: the terms that it wants, the Lévy areas that it eats."""

from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from . import _split
from ._brownian import Shapes
from ._calculus import converted, is_additive
from ._terms import AdditiveTerm, Drift, NoiseTerm, Problem, Retracted, Term


class Method(eqx.Module):
    """What steps a problem: a solver that ends its steps on the space, and what terms it takes."""

    problem: Problem
    solver: Retracted
    kind: Literal["one", "two", "additive", "split"] = eqx.field(static=True)
    levels: int = eqx.field(static=True, default=1)
    """1: increments of the Brownian motion alone; 2, 3: space-time Lévy areas too."""
    parted: bool = eqx.field(static=True, default=False)
    """Whether parts of a step are asked for."""

    def terms(self, path: Any, y: PyTree) -> Any:
        """The terms for a Brownian path, None without noise."""
        if self.kind == "split":
            return _split.two_drifts(self.problem, self.solver.solver)
        drift = diffrax.ODETerm(Drift(self.problem))
        if path is None:
            return (
                diffrax.MultiTerm(drift, diffrax.ODETerm(_still)) if self.kind == "two" else drift
            )
        if self.kind == "additive":
            return diffrax.MultiTerm(drift, AdditiveTerm(self.problem, path, y))
        if self.kind == "two":
            return diffrax.MultiTerm(drift, NoiseTerm(self.problem, path))
        return Term(self.problem, path)


def _still(t: Any, y: PyTree, args: Any) -> PyTree:
    """The noise of a system that has none, for solvers that step it apart."""
    return jax.tree.map(jnp.zeros_like, y)


def method(
    solver: diffrax.AbstractSolver, problem: Problem, y: PyTree, shapes: Shapes | None
) -> Method:
    """The method that a solver is for a problem, or an error that says what to take."""
    name, inner = type(solver).__name__, _innermost(solver)
    if isinstance(inner, diffrax.SemiImplicitEuler):
        if shapes is not None:
            raise ValueError(f"`solver`: {name} takes no noise. Take diffrax.Euler().")
        return _method(problem, _split.PhaseSplit(solver), "one")
    if _split.splits_sums(inner):
        if shapes is not None:
            raise ValueError(
                f"`solver`: {name} takes no noise. Take diffrax.Euler() with steps short enough "
                "for the stiff part."
            )
        return _method(problem, solver, "split")
    if _is_langevin(inner):
        langevin: Any = _split.langevin_solver(solver, problem, y)
        return _method(problem, langevin, "one", levels=_levels(inner))
    if shapes is None:
        two = "MultiTerm" in str(solver.term_structure)
        if two and not type(inner).__module__.startswith("flowjax_measures."):
            raise ValueError(
                f"`solver`: {name} steps a drift and noise, and this system has no noise. Take "
                "diffrax.Heun() or Tsit5(), or leave `solver` out."
            )
        return _method(problem, solver, "two" if two else "one")
    if isinstance(inner, diffrax.ItoMilstein | diffrax.ReversibleHeun | diffrax.LeapfrogMidpoint):
        raise ValueError(
            f"`solver`: {name} needs the noise as a matrix between all points, which is not made. "
            "Take diffrax.Euler() for Itô noise; diffrax.Heun(), SPaRK() or StratonovichMilstein() "
            "for Stratonovich noise, into which Itô noise is converted where it can be."
        )
    if isinstance(inner, diffrax.AbstractImplicitSolver):
        raise ValueError(
            f"`solver`: {name} would solve for the noise too, and converges to no solution of a "
            "stochastic equation. Take diffrax.Euler(), or SemiImplicitEuler of this library."
        )
    problem = converted(problem, y, solver)
    parted = solver is not inner or not _asks_for_whole_steps(inner)
    if not isinstance(inner, diffrax.AbstractSRK):
        kind = "two" if "MultiTerm" in str(solver.term_structure) else "one"
        return _method(problem, solver, kind, parted=parted)
    if not inner.tableau.is_additive_noise():
        return _method(problem, solver, "two", _levels(inner), parted)
    if not is_additive(problem, y):
        raise ValueError(
            f"`solver`: {name} steps noise that depends on neither state nor time, on flat space. "
            "Take diffrax.SPaRK() or GeneralShARK(), or leave `solver` out."
        )
    return _method(problem, solver, "additive", _levels(inner), parted)


def _method(problem, solver, kind, levels=1, parted=False) -> Method:
    if getattr(solver, "scan_kind", "none") is None:
        # The loop over stages that can be differentiated in both modes.
        is_none = lambda a: a is None  # noqa: E731
        solver = eqx.tree_at(lambda s: s.scan_kind, solver, _scan_kind(solver), is_leaf=is_none)
    return Method(problem, Retracted(solver, problem.held), kind, levels, parted)


def _scan_kind(solver: Any) -> str:
    return "lax" if isinstance(solver, diffrax.AbstractSRK) else "bounded"


def _innermost(solver: Any) -> Any:
    # Wrappers of ours (`RandomBatch`, …) hand whole steps on.
    while isinstance(solver, diffrax.AbstractWrappedSolver):
        solver = solver.solver
    return solver


def _asks_for_whole_steps(solver: Any) -> bool:
    return type(solver).__module__.split(".")[0] in ("diffrax", "flowjax_measures")


def _is_langevin(solver: Any) -> bool:
    return isinstance(solver, diffrax.ALIGN | diffrax.ShOULD | diffrax.QUICSORT)


def _levels(solver: Any) -> int:
    """How much of the Brownian motion a solver asks for: the least that it takes."""
    kinds = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)
    return next(n for n, kind in enumerate(kinds, 1) if issubclass(kind, solver.minimal_levy_area))

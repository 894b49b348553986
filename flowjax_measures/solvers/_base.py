"""What solvers of our own share: steps joined by lines, without an estimate of their error."""

from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp

from .._numerics import Checked
from ..measures import Increment
from ..simulation._terms import Term


class AbstractScheme(Checked, diffrax.AbstractSolver):
    """A diffrax solver of our own; subclasses give `orders`, `init` and `step`."""

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    orders: ClassVar[tuple[int, float | None]]
    """The order without noise (or the weak one), and the strong order."""

    def order(self, terms):
        return self.orders[0]

    def strong_order(self, terms):
        return self.orders[1]

    def error_order(self, terms):
        return None

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def posed(terms: Any, y0: Any) -> tuple[Any, Any]:
    """The system that a run is of and its whole state; Nones for terms that are not a run's."""
    problem = problem_of(terms)
    return (None, None) if problem is None else (problem.system, problem.merge(y0))


def clock(terms: Any, t: Any) -> Any:
    """The system's time at a solver's, which counts from the start of the run."""
    problem = problem_of(terms)
    return jnp.asarray(t) if problem is None else problem.clock(jnp.asarray(t))


def step_index(terms: Any, t0: Any, t1: Any) -> Any:
    """The index of the constant step from t0 to t1, counted from the system's time 0.

    Random numbers keyed by it go on where a run goes on.
    """
    problem = problem_of(terms)
    first = 0 if problem is None else problem.first
    return first + jnp.round(t0 / (t1 - t0)).astype(jnp.int32)


def problem_of(terms: Any) -> Any:
    """The problem that terms are of; None for terms that are not a run's."""
    for term in getattr(terms, "terms", (terms,)):
        term = unwrapped(term)
        problem = getattr(getattr(term, "vector_field", term), "problem", None)
        if problem is not None:
            return problem
    return None


def unwrapped(terms: Any) -> Any:
    """The terms without the direction of time, in which diffrax's own loop wraps them."""
    return getattr(terms, "term", terms)


def move(terms: Any, law: Increment, t0: Any, t1: Any) -> Any:
    """Where a step of Euler or of Euler and Maruyama goes under a law."""
    field = (law.drift, law.noise) if isinstance(unwrapped(terms), Term) else law.drift
    return terms.prod(field, terms.contr(t0, t1))

r"""Steps of a law that knows its own: `transition(t, x, dt, dW)` takes one point a step on.

For diffusions that Euler and Maruyama's method drives out of where they live, and holds there. The
transition of a law of one point is of a point, that of any other system of its whole state.
"""

from typing import Any, ClassVar

import diffrax
import jax

from .._system import AbstractMeanField
from ..measures import Particles
from ..measures._base import replace
from ._terms import Problem, like


class Transition(diffrax.AbstractSolver):
    """The default solver of a system with noise and a `transition`."""

    problem: Problem

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms):
        return 1

    def strong_order(self, terms):
        return 0.5

    def error_order(self, terms):
        return None

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        h, increments = terms.contr(t0, t1)
        system: Any = self.problem.system
        t = self.problem.clock(t0)
        if _is_of_points(system):
            (own,) = increments
            x1 = jax.vmap(lambda x, w: system.transition(t, x, h, w))(y0.x, own)
            y1 = replace(y0, x=x1)
        else:
            y1 = like(y0, system.transition(t, self.problem.merge(y0), h, increments))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def has_transition(system, state) -> bool:
    known = hasattr(system, "transition")
    return known and (isinstance(state, Particles) or not _is_of_points(system))


def _is_of_points(system: Any) -> bool:
    return isinstance(system, AbstractMeanField)

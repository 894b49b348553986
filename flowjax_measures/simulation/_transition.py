r"""Steps of a law that knows its own: `transition(t, x, dt, dW)` takes one point a step on.

For diffusions that Euler and Maruyama's method drives out of where they live, and holds there.
"""

from typing import Any, ClassVar

import diffrax
import jax

from ..measures import Particles
from ..measures._base import replace
from ._terms import Problem


class Transition(diffrax.AbstractSolver):
    """The default solver of particles of a system with noise and a `transition`."""

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
        h, (increments,) = terms.contr(t0, t1)
        system: Any = self.problem.system
        t = self.problem.clock(t0)
        x1 = jax.vmap(lambda x, w: system.transition(t, x, h, w))(y0.x, increments)
        y1 = replace(y0, x=x1)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def has_transition(system, state) -> bool:
    return hasattr(system, "transition") and isinstance(state, Particles)

r"""Strang's splitting of a sum of two systems: half a step of a, a step of b, half a step of a.

Φ_h = φ^a_{h/2} ∘ φ^b_h ∘ φ^a_{h/2},    of order 2 where both flows are  ([strang1968])
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ._base import AbstractScheme


class Strang(AbstractScheme):
    """Splits `a + Stiff(b)`, or what stands before the last summand from it, by two solvers.

    **Arguments:** `outer`: of two half steps of a. `inner`: of b's step; an implicit one, with a
    root finder of given tolerances, where b is stiff.

    !!! example

        `simulate(a + b, mu, ts, dt=0.1, solver=Strang())`
    """

    outer: Any = diffrax.Heun()
    inner: Any = diffrax.Heun()

    orders: ClassVar = (2, None)
    splits_sums: ClassVar = True
    term_structure: ClassVar = diffrax.MultiTerm[tuple[diffrax.AbstractTerm, diffrax.AbstractTerm]]

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        soft, stiff = terms.terms
        middle = t0 + (t1 - t0) / 2
        y, first = _flow(self.outer, soft, t0, middle, y0, args)
        y, second = _flow(self.inner, stiff, t0, t1, y, args)
        y1, third = _flow(self.outer, soft, middle, t1, y, args)
        result = diffrax.RESULTS.successful
        for one in (first, second, third):
            result = diffrax.RESULTS.where(one != diffrax.RESULTS.successful, one, result)
        return y1, None, dict(y0=y0, y1=y1), None, result

    def func(self, terms, t0, y0, args):
        parts = [term.vf(t0, y0, args) for term in terms.terms]
        return jax.tree.map(jnp.add, *parts)


def _flow(solver, term, t0, t1, y, args):
    """One step by a solver that remembers nothing of the step before."""
    state = solver.init(term, t0, t1, y, args)
    y1, *_, result = solver.step(term, t0, t1, y, args, state, made_jump=jnp.asarray(True))
    return y1, result

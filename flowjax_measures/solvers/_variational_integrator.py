r"""Variational integrators of mechanical systems ([marsden2001]).

    p₀ = −D_1 L_d(q₀, q₁) − F^−,   p₁ = D_2 L_d(q₀, q₁) + F^+

with the midpoint rule for L_d. Symplectic, of order 2; momenta that belong to affine symmetries of
L, such as angular momentum, are kept to round-off, and the energy stays near its start for
exponentially long times.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ..measures import Particles
from ..measures._base import replace
from ..spaces import Phase
from ..systems.geometry import EulerLagrange
from ._base import AbstractScheme, posed


class VariationalIntegrator(AbstractScheme):
    """The discrete Euler–Lagrange equations of `EulerLagrange`, solved by Newton's method.

    **Arguments:** `iterations`: Newton's steps in a step; one is exact for a quadratic L.
    """

    iterations: int = 6

    orders: ClassVar = (2, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system = posed(terms, y0)[0]
        if not (isinstance(system, EulerLagrange) and isinstance(y0, Particles)):
            raise ValueError("VariationalIntegrator steps `EulerLagrange` from `Particles`.")
        h: Any = t1 - t0

        def one(x):
            def improve(q1, _):
                miss = lambda q: system.impulses(x.q, q, h)[0] - x.p  # noqa: E731
                return q1 - jnp.linalg.solve(jax.jacfwd(miss)(q1), miss(q1)), None

            start = x.q + h * system.velocity(x)
            q1 = jax.lax.scan(improve, start, length=self.iterations)[0]
            return Phase(q1, system.impulses(x.q, q1, h)[1])

        y1 = replace(y0, x=jax.vmap(one)(y0.x))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

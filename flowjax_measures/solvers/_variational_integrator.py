r"""Variational integrators of mechanical systems ([marsden2001]).

    p₀ = −P_0 (D_1 L_d(q₀, q₁) + F^−),   p₁ = P_1 (D_2 L_d(q₀, q₁) + F^+)

with the midpoint rule for L_d, and on a curved space the projections P on its tangents at q₀ and
q₁: the forces of the constraint do no work on what may move ([leimkuhler2004]). Symplectic, of
order 2; momenta that belong to affine symmetries of L, such as angular momentum, are kept to
round-off, and the energy stays near its start for exponentially long times.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ..measures import Particles
from ..measures._base import replace
from ..spaces import Euclidean, Phase, Torus
from ..systems.geometry import EulerLagrange
from ._base import AbstractScheme, posed


class VariationalIntegrator(AbstractScheme):
    """The discrete Euler–Lagrange equations of `EulerLagrange`, solved by Newton's method.

    From particles of phases in flat space, on a torus, or on a curved `PhaseSpace`: of `Sphere()`,
    of the rotations `Stiefel()`.

    **Arguments:** `iterations`: Newton's steps in a step; one is exact for a quadratic L.

    !!! example

        `fm.VariationalIntegrator(iterations=6)`
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
        base = getattr(posed(terms, y0)[1].space, "base", Euclidean())
        # A torus is flat, and its points are taken back after the step.
        space = Euclidean() if isinstance(base, Torus) else base

        def one(x):
            onward = lambda move: space.nearest(x.q + move.reshape(x.q.shape))  # noqa: E731

            def miss(move):
                tangent = space.project(x.q, move.reshape(x.q.shape)).ravel()
                gap = space.project(x.q, system.impulses(x.q, onward(tangent), h)[0] - x.p)
                return gap.ravel() + move - tangent

            def improve(move, _):
                return move - jnp.linalg.solve(jax.jacfwd(miss)(move), miss(move)), None

            start = space.project(x.q, h * system.velocity(x)).ravel()
            q1 = onward(jax.lax.scan(improve, start, length=self.iterations)[0])
            return Phase(q1, space.project(q1, system.impulses(x.q, q1, h)[1]))

        y1 = replace(y0, x=jax.vmap(one)(y0.x))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

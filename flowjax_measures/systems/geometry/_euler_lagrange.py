r"""Mechanical systems from their Lagrangian, with forces ([marsden2001]).

    d/dt ∂_v L(q, q̇) − ∂_q L(q, q̇) = F(q, q̇),   p = ∂_v L

The discrete principle of Lagrange and d'Alembert sums L_d(q_0, q_1) = h L((q_0 + q_1)/2,
(q_1 − q_0)/h) over steps, with the halves F^± of the force at the middle: positions alone satisfy

    D_2 L_d(q_{k−1}, q_k) + D_1 L_d(q_k, q_{k+1}) + F^+ + F^− = 0,

from which L and F are learned without velocities, and by which `VariationalIntegrator` steps.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Scalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ...spaces import Phase
from ...spaces._base import AbstractSpace
from ...spaces._phase import of_kind


class EulerLagrange(AbstractMeanField):
    """Independent copies of a mechanical system; points are `Phase(q, p)`, p the momentum.

    With L = ½|v|² − V they may live on a curved space, `PhaseSpace(Sphere())`; with any L of the
    ambient space `VariationalIntegrator` steps them there, a rigid body L = ½ tr(v J vᵀ) on the
    rotations `PhaseSpace(Stiefel())`, say.

    **Arguments:** `lagrangian`: L(q, v), regular and at most quadratic in v. `force`: F(q, v), of
    the shape of q; `None` is none.

    !!! example

        `fm.EulerLagrange(lambda q, v: v @ v / 2 - f(q))`
    """

    lagrangian: Callable[[Array, Array], FloatScalar]
    force: Callable[[Array, Array], Any] | None = None

    def velocity(self, x: Phase) -> Array:
        """v of the momentum p."""
        slope = lambda v: jax.grad(self.lagrangian, 1)(x.q, v.reshape(x.q.shape)).ravel()  # noqa: E731
        still = jnp.zeros_like(x.q).ravel()
        mass = jax.jacfwd(slope)(still)
        return jnp.linalg.solve(mass, x.p.ravel() - slope(still)).reshape(x.q.shape)

    def energy(self, x: Phase) -> FloatScalar:
        """⟨p, v⟩ − L."""
        v = self.velocity(x)
        return jnp.vdot(x.p, v) - self.lagrangian(x.q, v)

    def rates(self, t, x, mu):
        of_kind(x, Phase, "EulerLagrange")
        v = self.velocity(x)
        push = jax.grad(self.lagrangian)(x.q, v)
        return Rates(Phase(v, push if self.force is None else push + self.force(x.q, v)))

    def impulses(self, q0: Array, q1: Array, h: Scalar) -> tuple[Array, Array]:
        """The momenta (p_0, p_1) of a discrete step: −D_1 L_d − F^− and D_2 L_d + F^+."""
        action = lambda a, b: h * self.lagrangian((a + b) / 2, (b - a) / h)  # noqa: E731
        before, after = jax.grad(action, (0, 1))(q0, q1)
        if self.force is None:
            return -before, after
        half = h / 2 * self.force((q0 + q1) / 2, (q1 - q0) / h)
        return -before - half, after + half

    def residual(
        self, positions: Float[Array, "n ..."], h: Scalar, space: AbstractSpace | None = None
    ) -> Float[Array, "m ..."]:
        """How positions at times of distance h miss the discrete equations, shape (n − 2, …).

        On a curved `space`, `Sphere()` or `Stiefel()`, what is tangent to it.
        """
        starts, ends = jax.vmap(lambda a, b: self.impulses(a, b, h))(positions[:-1], positions[1:])
        miss = ends[:-1] - starts[1:]
        return miss if space is None else jax.vmap(space.project)(positions[1:-1], miss)

r"""Unbalanced and semi-unbalanced transport, exactly ([liero2018], [chizat2018scaling]).

    min_{π ≥ 0} ⟨c, π⟩ + ψ₁(π₁) + ψ₂(π₂),   c = ‖x − y‖^p,
    = max_{f, g} −ψ₁*(−f) − ψ₂*(−g)   with f_i + g_j ≤ c_ij

    KullbackLeibler   ψ(s) = λ Σ s log(s/a) − s + a      π₁ = a e^{−f/λ}
    SquaredError      ψ(s) = λ/2 Σ (s − a)²              π₁ = a − f/λ
    TotalVariation    ψ(s) = λ Σ |s − a|                 f ≤ λ
    None              the marginal is a

With one hard marginal it is the proximal map of transport, a JKO step: with c = ‖x − y‖²,
ψ₂ = 2τ KL(·|dx) the second marginal is the step τ of the entropy, the heat equation. The entropic
relative, by Sinkhorn scaling, is `entropic_coupling`.
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from .._numerics import checked, jitted
from .._numerics._checks import check_positive
from ..energies._ground import shared_space
from ..measures import AbstractMeasure
from ..measures._base import concrete
from ._exact import Cost, costs_and_masses
from ._host_marginals import Side as HostSide, hard, kullback_leibler, squared_error
from ._host_pairs import Rows, Sparse, among_positive
from ._interior_point import optimal_potentials
from ._partial import with_dummies
from ._sparse_relaxed import sparse_relaxed

# Beyond this many pairs the host solves, where it can.
LARGEST = 2**15


class AbstractMarginal(eqx.Module):
    """What a marginal may cost that is not the measure's masses a, by its dual."""

    strength: eqx.AbstractVar[Scalar]

    def __check_init__(self):
        check_positive("strength", self.strength)

    @abc.abstractmethod
    def demand(self, f: Float[Array, " n"], a: Float[Array, " n"]) -> Float[Array, " n"]:
        """The marginal that belongs to the potential f."""

    @abc.abstractmethod
    def dual(self, f: Float[Array, " n"], a: Float[Array, " n"]) -> FloatScalar:
        """−ψ*(−f), whose gradient is `demand`."""


class KullbackLeibler(AbstractMarginal):
    """ψ(s) = λ KL(s|a). **Arguments:** `strength`: λ.

    !!! example

        `fm.unbalanced_transport(mu, nu, fm.KullbackLeibler(1.0)).value`
    """

    strength: Scalar = 1.0

    def demand(self, f, a):
        return a * jnp.exp(-f / self.strength)

    def dual(self, f, a):
        return -self.strength * jnp.vdot(a, jnp.expm1(-f / self.strength))


class SquaredError(AbstractMarginal):
    """ψ(s) = λ/2 ‖s − a‖², a sum over the atoms. **Arguments:** `strength`: λ.

    !!! example

        `fm.unbalanced_transport(mu, nu, fm.SquaredError(1.0)).value`
    """

    strength: Scalar = 1.0

    def demand(self, f, a):
        return a - f / self.strength

    def dual(self, f, a):
        return jnp.vdot(f, a) - jnp.sum(jnp.where(a > 0, f, 0) ** 2) / (2 * self.strength)


class TotalVariation(AbstractMarginal):
    """ψ(s) = λ Σ |s − a|: mass may be left out at the price λ. **Arguments:** `strength`: λ.

    !!! example

        `fm.unbalanced_transport(mu, nu, fm.TotalVariation(1.0), fm.TotalVariation(1.0)).value`
    """

    strength: Scalar = 1.0

    def demand(self, f, a):
        return jnp.where(f < self.strength, a, 0)

    def dual(self, f, a):
        return jnp.vdot(jnp.minimum(f, self.strength), a)


class _Hard(AbstractMarginal):
    strength: Scalar = 1.0

    def demand(self, f, a):
        return a

    def dual(self, f, a):
        return jnp.vdot(f, a)


class Unbalanced(NamedTuple):
    """The optimal value, plan (n, m) and potentials, (n,) and (m,).

    !!! example

        `fm.unbalanced_transport(mu, nu, fm.KullbackLeibler(1.0)).plan`
    """

    value: FloatScalar
    plan: Float[Array, "n m"]
    f: Float[Array, " n"]
    g: Float[Array, " m"]


@checked
def unbalanced_transport(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    one: AbstractMarginal | None = KullbackLeibler(),
    two: AbstractMarginal | None = KullbackLeibler(),
    p: float | int = 2,
    *,
    cost: Cost | None = None,
) -> Unbalanced:
    """Optimal transport between the atoms of measures of any masses.

    Numbers that can be looked at are solved on the host by column generation: 2000 atoms in the
    plane on each side in 4 s, 5000 in 20 s. Compiled (in `jit` or `vmap`) it is for some hundreds.

    The value is differentiable once in points, masses and strengths; the plan is not. Atoms of
    mass zero are left out, whatever their marginal may cost. With `TotalVariation` it is a linear
    program, solved as `coupling` is.

    **Arguments:** `mu`, `nu`: measures with the masses that they have. `one`, `two`: what their
    marginals may cost, `None` for a hard one. `p`: the power of the distance in the cost. `cost`:
    another cost ≥ 0, a function of two points or a matrix (n, m).

    **Raises:** `ValueError` for two hard marginals: that is `coupling`.

    !!! example

        `fm.unbalanced_transport(mu, nu, None, fm.KullbackLeibler(0.5)).plan`
    """
    if one is None and two is None:
        raise ValueError("`one` and `two` are both None; with hard marginals take `coupling`.")
    space = shared_space(mu, nu)
    check_positive("p", p, 1)
    matrix, a, b = costs_and_masses(mu, nu, space, float(p), cost)
    if isinstance(one, TotalVariation) or isinstance(two, TotalVariation):
        prices = [law and law.strength for law in (one, two)]
        if not all(law is None or isinstance(law, TotalVariation) for law in (one, two)):
            raise ValueError(
                "`one` and `two` mix TotalVariation with another law; take it for both, or None "
                "for a hard marginal."
            )
        return Unbalanced(*with_dummies(matrix, a, b, *prices))
    sides = (one or _Hard(), a), (two or _Hard(), b)
    fixed = jax.lax.stop_gradient((matrix, sides))
    if matrix.size > LARGEST and concrete(fixed):
        return _stationary(matrix, *sides, *_on_the_host(fixed[0], *fixed[1]))
    return _relaxed(matrix, *sides)


@jitted
def _relaxed(cost, one, two) -> Unbalanced:
    return relaxed(cost, one, two)


def relaxed(cost: Float[Array, "n m"], one: Any, two: Any) -> Unbalanced:
    """The problem between pairs of a marginal's law and its masses."""
    sides = jax.lax.stop_gradient(((_Side(*one)), _Side(*two)))
    found = jax.lax.stop_gradient(optimal_potentials(jax.lax.stop_gradient(cost), *sides))
    return _stationary(cost, one, two, *found)


@jitted
def _stationary(cost, one, two, f, g, plan) -> Unbalanced:
    """The value: masses and strengths and, through the plan, costs have its derivative."""
    near = ~jnp.isposinf(cost)
    moved = jnp.where(near, cost - jax.lax.stop_gradient(cost), 0)
    value = one[0].dual(f, one[1]) + two[0].dual(g, two[1]) + jnp.vdot(plan, moved)
    return Unbalanced(value, plan, f, g)


def _on_the_host(cost, one, two):
    """f, g and the plan of numbers that can be looked at."""
    matrix = np.asarray(cost)
    found = host_relaxed(lambda k: matrix[k], one, two)
    plan = np.zeros(matrix.shape, matrix.dtype)
    plan[found.i, found.j] = found.mass
    return tuple(jnp.asarray(p, cost.dtype) for p in (found.f, found.g, plan))


def host_relaxed(rows: Rows, one: Any, two: Any) -> Sparse:
    """The same from rows of costs; atoms of mass zero have the potential that others leave."""
    a, b = (np.asarray(total, np.float64) for _, total in (one, two))

    def solve(rows: Rows, i, j) -> Sparse:
        return sparse_relaxed(rows, _host_side(one[0], a[i]), _host_side(two[0], b[j]))

    return among_positive(rows, a, b, solve)


def _host_side(law: AbstractMarginal, a: np.ndarray) -> HostSide:
    if isinstance(law, KullbackLeibler):
        return kullback_leibler(a, float(law.strength))
    if isinstance(law, SquaredError):
        return squared_error(a, float(law.strength))
    return hard(a)


class _Side(eqx.Module):
    law: AbstractMarginal
    total: Float[Array, " n"]

    def demand(self, f):
        return self.law.demand(f, self.total)

    @property
    def reach(self):
        return 3 * self.law.strength if isinstance(self.law, KullbackLeibler) else jnp.inf

    def stiffness(self, f):
        return -jax.jvp(self.demand, (f,), (jnp.ones_like(f),))[1]

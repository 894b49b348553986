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
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from .._numerics import jitted
from .._numerics._checks import check_positive
from ..energies._ground import shared_space
from ..measures import AbstractMeasure
from ._exact import Cost, costs_and_masses
from ._interior_point import optimal_potentials
from ._partial import with_dummies


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


def unbalanced_transport(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    one: AbstractMarginal | None = KullbackLeibler(),
    two: AbstractMarginal | None = KullbackLeibler(),
    p: float | int = 2,
    *,
    cost: Cost | None = None,
) -> Unbalanced:
    """Optimal transport between the atoms of measures of any masses, some hundreds.

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
    return _relaxed(matrix, (one or _Hard(), a), (two or _Hard(), b))


@jitted
def _relaxed(cost, one, two) -> Unbalanced:
    return relaxed(cost, one, two)


def relaxed(cost: Float[Array, "n m"], one: Any, two: Any) -> Unbalanced:
    """The problem between pairs of a marginal's law and its masses."""
    sides = jax.lax.stop_gradient(((_Side(*one)), _Side(*two)))
    f, g, plan = jax.lax.stop_gradient(optimal_potentials(jax.lax.stop_gradient(cost), *sides))
    # The optimum is stationary: masses and strengths and, through the plan, costs have the
    # derivative.
    near = ~jnp.isposinf(cost)
    moved = jnp.where(near, cost - jax.lax.stop_gradient(cost), 0)
    value = one[0].dual(f, one[1]) + two[0].dual(g, two[1]) + jnp.vdot(plan, moved)
    return Unbalanced(value, plan, f, g)


class _Side(eqx.Module):
    law: AbstractMarginal
    total: Float[Array, " n"]

    def demand(self, f):
        return self.law.demand(f, self.total)

    def stiffness(self, f):
        return -jax.jvp(self.demand, (f,), (jnp.ones_like(f),))[1]

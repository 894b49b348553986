r"""Consensus on a constraint g(x) = 0, by a penalty in the weights and a force ([carrillo2023]).

    dX = −λ (X − c) dt − (1/ε) ∇r(X) dt + noise(X − c),    c = ⟨x⟩_{−α(f + r/ν)},    r = |g|²/2

The penalty alone leaves points where they are, the force alone lets those off the constraint speak.
Itô.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx

from ..._custom_types import FloatScalar, Point, Positive, Scalar
from ..._system import AbstractMeanField, Sum
from ...measures import AbstractMeasure
from ._consensus_based import ConsensusBased
from ._effective_sample_size import EffectiveSampleSize
from ._equality_constraint import EqualityConstraint
from ._exploration import check_exploration
from ._weights import Schedule


class Regularized(eqx.Module):
    """The objective with its penalty, f + |g|²/(2ν)."""

    objective: Callable[[Point], FloatScalar]
    constraint: Callable[[Point], Any]
    nu: Scalar

    def __call__(self, x: Point) -> FloatScalar:
        values, _ = EqualityConstraint(self.constraint).linearised(x)
        return self.objective(x) + values @ values / (2 * self.nu)


class RegularizedConsensus(AbstractMeanField):
    r"""Consensus-based optimisation of f on the set {g = 0}, by penalty and force together.

    It is `ConsensusBased` of f + r/ν, plus `EqualityConstraint(g, ε)`. As ν → ∞ the penalty
    vanishes, as ε → ∞ the force does.

    **Arguments:**

    - `objective`, `drift_rate`, `sigma`, `alpha`, `noise`, `truncation`: as of `ConsensusBased`.
    - `constraint`: g, a function of one point to any number of values; max(h, 0) for h(x) ≤ 0.
    - `epsilon`: ε of the force. Where h/ε ≳ 1 for steps h, take `solver=ConstrainedEuler()`.
    - `nu`: ν of the penalty.

    !!! example

        `fm.RegularizedConsensus(f, lambda x: x @ x - 1, sigma=0.7, epsilon=0.01, nu=0.1)`
    """

    objective: Callable[[Point], FloatScalar]
    constraint: Callable[[Point], Any]
    drift_rate: Schedule = 1.0
    sigma: Schedule = 0.7
    alpha: Schedule | EffectiveSampleSize = 30.0
    noise: str = eqx.field(static=True, default="isotropic")
    epsilon: Positive = 0.01
    nu: Positive = 1.0
    truncation: Scalar | None = None

    def __check_init__(self):
        check_exploration(self.noise, self.truncation)

    @property
    def parts(self) -> Sum:
        """The two systems of which it is the sum."""
        energy = Regularized(self.objective, self.constraint, self.nu)
        free = ConsensusBased(
            energy, self.drift_rate, self.sigma, self.alpha, self.noise, self.truncation
        )
        return Sum(free, EqualityConstraint(self.constraint, self.epsilon))

    def consensus(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Point:
        """The consensus point, weighed by f + r/ν."""
        return self.parts.first.consensus(mu, t)  # pyright: ignore

    def rates(self, t, x, mu):
        return self.parts.rates(t, x, mu)

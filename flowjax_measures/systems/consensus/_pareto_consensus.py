r"""Consensus for several objectives: each point seeks its own place on the Pareto front
([borghi2022]).

    dX = −λ (X − c(w)) dt + σ D(X − c(w)) dW,     c(w) = ⟨x⟩ tilted by −α max_k w_k |g_k(x)|

A point with preferences w solves the Chebyshev scalarisation max_k w_k |g_k|, whose minimisers are
weakly Pareto optimal; over all w they are the front. Itô.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ..._custom_types import FloatScalar, NonNegative, Point
from ..._numerics import given
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import floating
from ._exploration import check_exploration, exploration
from ._weights import energy_logits, weighted_mean


class ParetoConsensus(AbstractMeanField):
    r"""Consensus-based optimisation of m objectives; points are pairs `(x, index)`.

    The integer `index` is a row of `preferences`. All points help in every consensus.

    **Arguments:**

    - `objectives`: function of one place x to the m values g, taken to be at least 0.
    - `preferences`: w, shape (k, m), rows on the simplex.
    - `drift_rate`, `sigma`, `alpha`: λ, σ and α, as of `ConsensusBased`.
    - `noise`: "isotropic", "anisotropic" or "additive".

    !!! example

        ```python
        fm.minimize(
            lambda x: jnp.stack([f(x), f(x - 1)]), bounds=box, key=key, method="pareto"
        ).front
        ```
    """

    objectives: Callable[[Point], Float[Array, " m"]]
    preferences: ArrayLike = eqx.field(converter=partial(given, "preferences"))
    drift_rate: NonNegative = 1.0
    sigma: NonNegative = 0.7
    alpha: NonNegative = 30.0
    noise: str = eqx.field(static=True, default="isotropic")

    def __check_init__(self):
        check_exploration(self.noise, None)
        if self.noise == "covariance":
            raise ValueError('`noise` is "covariance"; a front takes the three others.')

    def scalarised(self, x: Point, index: Array) -> FloatScalar:
        """max_k w_k |g_k(x)| for the preferences in row `index`."""
        return jnp.max(jnp.asarray(self.preferences)[index] * jnp.abs(self.objectives(x)))

    def consensus(self, index: Array, mu: AbstractMeasure) -> Point:
        """The consensus of the preferences in row `index`."""
        logits = energy_logits(lambda y: self.scalarised(y[0], index), self.alpha)
        return weighted_mean(mu, lambda y: floating(y[0]), logits)

    def rates(self, t, x, mu):
        place, index = x
        away = jax.tree.map(jnp.subtract, floating(place), self.consensus(index, mu))
        noise = exploration(self.noise, self.sigma, (away, None))
        return Rates((jax.tree.map(lambda z: -self.drift_rate * z, away), None), noise)

r"""Consensus for min–max problems: two populations, min over x of max over y ([huang2024]).

    dX = −λ (X − c_x) dt + σ D(X − c_x) dW,     c_x = ⟨x⟩ tilted by −αf(x, ⟨y⟩)
    dY = −λ (Y − c_y) dt + σ D(Y − c_y) dW,     c_y = ⟨y⟩ tilted by +βf(⟨x⟩, y)

Each population plays against the mean of the other. Itô.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, Point, Scalar
from ..._system import AbstractMeanField, AbstractSystem, Custom, Species
from ...measures import Increment, Rates
from ._exploration import check_exploration, exploration
from ._weights import energy_logits, weighted_mean


class SaddleConsensus(AbstractSystem):
    r"""Consensus at a saddle point of f(x, y); the state is `{"min": …, "max": …}` of measures.

    **Arguments:**

    - `objective`: function f(x, y) of two points, minimised over x and maximised over y.
    - `drift_rate`, `sigma`: λ and σ of both populations.
    - `alpha`, `beta`: α and β, the sharpness of the two.
    - `noise`: "isotropic", "anisotropic" or "additive".
    """

    objective: Callable[[Point, Point], FloatScalar]
    drift_rate: Scalar = 1.0
    sigma: Scalar = 0.7
    alpha: Scalar = 30.0
    beta: Scalar = 30.0
    noise: str = eqx.field(static=True, default="isotropic")

    def __check_init__(self):
        check_exploration(self.noise, None)
        if self.noise == "covariance":
            raise ValueError('`noise` is "covariance"; a saddle takes the three others.')

    def consensus(self, state: dict) -> dict:
        """Both consensus points, under the names of the populations."""
        x, y = state["min"].mean(), state["max"].mean()
        lower = energy_logits(lambda z: self.objective(z, y), self.alpha)
        upper = energy_logits(lambda z: -self.objective(x, z), self.beta)
        return {
            "min": weighted_mean(state["min"], lambda z: z, lower),
            "max": weighted_mean(state["max"], lambda z: z, upper),
        }

    def __call__(self, t, state) -> Increment:
        centres = self.consensus(state)

        def law(name: str) -> AbstractMeanField:
            def rates(t, x, mu):
                away = jax.tree.map(jnp.subtract, x, centres[name])
                noise = exploration(self.noise, self.sigma, away)
                return Rates(jax.tree.map(lambda z: -self.drift_rate * z, away), noise)

            return Custom(rates)

        return Species({"min": law("min"), "max": law("max")})(t, state)

r"""Consensus for min–max problems: two populations, min over x of max over y ([huang2024]).

    dX = −λ (X − c_x) dt + σ D(X − c_x) dW,     c_x = ⟨x⟩ tilted by −αf(x, ⟨y⟩)
    dY = −λ (Y − c_y) dt + σ D(Y − c_y) dW,     c_y = ⟨y⟩ tilted by +βf(⟨x⟩, y)

Each population plays against the mean of the other. Itô.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, NonNegative, Point
from ..._system import AbstractMeanField, AbstractSystem, Custom, Species
from ...measures import Increment, Rates
from ...noise._noise import floating
from ._effective_sample_size import EffectiveSampleSize
from ._exploration import check_exploration, exploration
from ._weights import energy_logits, strength, weighted_mean


class SaddleConsensus(AbstractSystem):
    r"""Consensus at a saddle point of f(x, y); the state is `{"min": …, "max": …}` of measures.

    **Arguments:**

    - `objective`: function f(x, y) of two points, minimised over x and maximised over y.
    - `drift_rate`, `sigma`: λ and σ of both populations.
    - `alpha`, `beta`: α and β, the sharpness of the two.
    - `noise`: "isotropic", "anisotropic" or "additive".

    !!! example

        ```python
        fm.minimize(
            lambda x, y: f(x) - f(y), (jnp.ones(1), jnp.ones(1)), key=key, method="saddle"
        ).x
        ```
    """

    objective: Callable[[Point, Point], FloatScalar]
    drift_rate: NonNegative = 1.0
    sigma: NonNegative = 0.7
    alpha: NonNegative | EffectiveSampleSize = 30.0
    beta: NonNegative | EffectiveSampleSize = 30.0
    noise: str = eqx.field(static=True, default="isotropic")

    def __check_init__(self):
        check_exploration(self.noise, None)
        if self.noise == "covariance":
            raise ValueError('`noise` is "covariance"; a saddle takes the three others.')

    def consensus(self, state: dict) -> dict:
        """Both consensus points, under the names of the populations."""
        x, y = state["min"].mean(floating), state["max"].mean(floating)

        def centre(name, sharpness, energy):
            alpha = strength(sharpness, 0.0, state[name], energy)
            return weighted_mean(state[name], floating, energy_logits(energy, alpha))

        return {
            "min": centre("min", self.alpha, lambda z: self.objective(z, y)),
            "max": centre("max", self.beta, lambda z: -self.objective(x, z)),
        }

    def __call__(self, t, state) -> Increment:
        centres = self.consensus(state)

        def law(name: str) -> AbstractMeanField:
            def rates(t, x, mu):
                away = jax.tree.map(jnp.subtract, floating(x), centres[name])
                noise = exploration(self.noise, self.sigma, away)
                return Rates(jax.tree.map(lambda z: -self.drift_rate * z, away), noise)

            return Custom(rates)

        return Species({"min": law("min"), "max": law("max")})(t, state)

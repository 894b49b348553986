r"""One-pass least squares in high dimension: its modes as a mean-field flow ([paquette2021]).

    dm/dt = −2γλ m + γ²λ (⟨λm⟩ + σ²),     risk R = ½ (⟨λm⟩ + σ²)

SGD with the step γ/d sees each example z ~ N(0, H) of R^d once, with target ⟨z, θ*⟩ + N(0, σ²). A
point is an eigenvalue λ of H with the mean squared error m of its direction, times d; ⟨ ⟩ is over
the directions, and t = k/d after k steps. The risk differs from that of SGD by O(1/d); eliminating
m gives a Volterra equation for it.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import NonNegative, Positive
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates


class StreamingLeastSquares(AbstractMeanField):
    r"""The high-dimensional limit of one-pass SGD on least squares.

    Points are pairs (λ, m), so that the state is the spectral law of the inputs with the errors:
    `Particles((eigenvalues, d * squared_errors))`. The risk is bounded for γ⟨λ⟩ < 2.

    **Arguments:**

    - `gamma`: γ, the step size times the dimension.
    - `noise`: σ, the standard deviation of the targets' noise.

    !!! example

        `fm.StreamingLeastSquares(0.1)`
    """

    gamma: Positive
    noise: NonNegative = 0.0

    def risk(self, mu: AbstractMeasure) -> Float[Array, ""]:
        """R of a fresh example."""
        return (mu.mean(lambda mode: mode[0] * mode[1]) + jnp.square(self.noise)) / 2

    def rates(self, t, x, mu):
        rate, error = x
        relax = 2 * self.gamma * rate
        return Rates((jnp.zeros_like(rate), relax * (self.gamma * self.risk(mu) - error)))

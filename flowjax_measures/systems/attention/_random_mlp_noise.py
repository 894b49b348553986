r"""Common noise of a random perceptron layer (Agazzi, Bruno, Garcia, Saviozzi and Romito).

    dX = σ P_X dξ(t, X),   E dξ(t, x) dξ(t, y)ᵀ = k(x, y) I dt,

the limit of a deep network whose layers x ← N(x + √h A φ(Wx)/√m) are random, as the width m and
the depth 1/h grow: ξ is a Gaussian field, white in time, common to all points, with the kernel of
the activation, k(x, y) = E φ(⟨w, x⟩) φ(⟨w, y⟩). Itô and Stratonovich agree on the sphere S^{d−1}.
There two points at a small distance part or meet at the rate

    λ = (σ²/2) [(d − 3) k'(1) − (d − 1) k(1)],   k(x, y) = k(⟨x, y⟩).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Cylindrical
from ._activation_kernels import layer_kernel


class RandomMLPNoise(AbstractMeanField):
    r"""The Gaussian field of a wide random layer, exact in law at all the points of a measure.

    It is drawn at the n atoms x_i through a Cholesky factor L of the matrix k(x_i, x_j) + εI and
    continued between them as its conditional mean, ξ(x) = Σ_j k(x, x_j) (L⁻ᵀ dB)_j; ε is round-off.
    So points that have met stay together, and the cost is O(n³) a step. Points closer than √ε
    (1e-7 in float64, 1e-3 in float32) move as one.

    **Arguments:**

    - `activation`: φ, one of "relu", "tanh", "erf", "linear", or a function of a number.
    - `sigma`: σ, the strength.

    Add it to attention: `SelfAttention(beta=4.0) + RandomMLPNoise("relu")`.
    """

    activation: str | Callable[[Any], Any] = "relu"
    sigma: FloatScalar = 1.0

    def kernel(self, x, y):
        """k(x, y) of two points."""
        return layer_kernel(self.activation, x, y)

    def rates(self, t, x, mu):
        points, _ = mu.atoms()
        n = points.shape[0]
        gram = jax.vmap(lambda a: jax.vmap(lambda b: self.kernel(a, b))(points))(points)
        largest = jnp.max(jnp.diagonal(gram))
        ridge = 8 * n * jnp.finfo(gram.dtype).eps * jnp.where(largest > 0, largest, 1)
        factor = jnp.linalg.cholesky(gram + ridge * jnp.eye(n, dtype=gram.dtype))
        row = jax.vmap(lambda b: self.kernel(x, b))(points)

        def field(increment):
            loads = jax.scipy.linalg.solve_triangular(factor, increment, lower=True, trans="T")
            return self.sigma * row @ loads

        return Rates(jnp.zeros_like(x), Cylindrical(field, (n, x.size)))

r"""The heat phase of attention in spherical harmonics (Bruno, Pasqualotto and Agazzi).

∂_s μ = −γ Δμ on the sphere S^{d−1}: coefficients of degree ℓ have

    ċ_ℓ = γ ℓ(ℓ + d − 2) c_ℓ,

on the circle, d = 2, γ k² for the k-th Fourier mode. For γ < 0 this is heat. For γ > 0 mass
concentrates, and only a finite number of degrees is well posed: the L degrees of the state are the
cut, which at finite β attention makes by itself, with the rates ℓ(ℓ + d − 2) κ_ℓ/β, κ_ℓ =
I_{ℓ+d/2−1}(β)/I_{d/2−1}(β) in place of 1.
"""

import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractSystem
from ...measures import Increment


class HarmonicHeatFlow(AbstractSystem):
    r"""±Laplacian, forwards or backwards, of coefficients in spherical harmonics.

    **Arguments:**

    - `gamma`: γ = λ₂/λ₁ of V = λ₂ I and QᵀK = λ₁ I, of either sign.
    - `dimension`: d, of the space R^d around the sphere: 2 for the circle, 3 for S².

    The state is an array of shape (L + 1, …) whose first axis is the degree ℓ = 0, …, L.

    !!! example

        `fm.HarmonicHeatFlow(gamma=-1.0, dimension=2)`
    """

    gamma: FloatScalar = -1.0
    dimension: int = 2

    def __check_init__(self):
        super().__check_init__()
        if self.dimension < 2:
            raise ValueError(f"`dimension` is {self.dimension}; the circle is in R^2, S² in R^3.")

    def __call__(self, t, state):
        degree = jnp.arange(state.shape[0]).astype(state.dtype)
        rate = self.gamma * degree * (degree + self.dimension - 2)
        return Increment(rate.reshape(-1, *(1,) * (state.ndim - 1)) * state)

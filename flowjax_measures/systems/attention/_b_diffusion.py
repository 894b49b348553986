r"""Collective diffusion, attention's limit where all data points share one field (Brenier and
Geshkovski).

    ∂_t c_a = ∇·(B(t, x) ∇c_a)   for every phase a,   ∇·B = 0 row by row,

Each phase reads itself with the same matrices: as β → ∞ attention to differences with the kernel
e^{−β|x − y|²/2} has the velocity V ∇log c_a/β, so that V = −B and the time βt are this equation.
Then Σ_a c_a stays what it was if it was constant, whatever the sign of B. As laws of points

    dX = (∇·B) dt + √(2B) dW.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Covariance


class BDiffusion(AbstractMeanField):
    r"""∂_t c = ∇·(B∇c), the same field B for every measure that it is given.

    **Arguments:** `field`: B, a symmetric matrix (d, d) that is not negative, or a function of
    (t, x) that returns one; the divergence of its rows is computed and counts.

    Phases are a dict of measures, `Species({name: BDiffusion(B) for name in phases})`, and
    the best B between two sets of phases is that of `collective_diffusion`.

    !!! example

        `simulate(BDiffusion(jnp.eye(2)), Gaussian(m, S), ts)` has the covariance S + 2tI.
    """

    field: Float[Array, "d d"] | Callable[[FloatScalar, Any], Float[Array, "d d"]]

    def rates(self, t, x, mu):
        shape = jax.eval_shape(lambda y: self._at(t, y), x).shape
        if x.ndim != 1 or shape != (x.size, x.size):
            raise ValueError(
                f"`field` has shape {shape} at points of shape {x.shape}; give a matrix "
                f"({x.size}, {x.size})."
            )
        drift = jnp.zeros_like(x)
        if callable(self.field):
            drift = jnp.einsum("ijj->i", jax.jacfwd(lambda y: self._at(t, y))(x))
        return Rates(drift, Covariance(2 * self._at(t, x)))

    def _at(self, t, x):
        return self.field(t, x) if callable(self.field) else jnp.asarray(self.field, x.dtype)

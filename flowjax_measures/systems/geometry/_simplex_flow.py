r"""Gradient flows and Langevin's equation on the probability manifold of a Markov chain ([li2024]).

    dp = −K ∇F dt + T ∇·K dt + √(2T) Σ_{i<j} √θ_ij (e_i − e_j) dW_ij

Without noise and with F the relative entropy it is the master equation ṗ = Qᵀp. With noise the
invariant law is e^{−F/T} dp on the simplex; with `riemannian` it is e^{−F/T} d vol_g, the drift has
T K ∇ log √det g too, and F = 0 is the Brownian motion of the manifold, the Wasserstein noise.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import FloatScalar, NonNegative
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Dense
from ...spaces import ProbabilityManifold


class SimplexFlow(AbstractMeanField):
    """Independent probability vectors p; run it from `Particles(p, space=Simplex())`.

    **Arguments:** `manifold`: the simplex with its mobility. `energy`: F, a function of p; the
    relative entropy by default. `temperature`: T; `None` is without noise. `riemannian`: whether
    the volume of the metric is the reference of the invariant law, or that of p.
    """

    manifold: ProbabilityManifold
    energy: Callable[[Array], FloatScalar] | None = None
    temperature: NonNegative | None = None
    riemannian: bool = eqx.field(static=True, default=False)

    def rates(self, t, x, mu):
        energy = self.manifold.relative_entropy if self.energy is None else self.energy
        response = self.manifold.response(x)
        descent = -response @ jax.grad(energy)(x)
        if self.temperature is None:
            return Rates(descent)
        spread = jnp.einsum("ijj->i", jax.jacfwd(self.manifold.response)(x))
        if self.riemannian:
            spread = spread + response @ jax.grad(self.manifold.volume)(x)
        i, j = jnp.triu_indices(x.size, 1)
        square = self.manifold.mobility(x)[i, j]
        root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
        eye = jnp.eye(x.size, dtype=x.dtype)
        scale = jnp.sqrt(jnp.asarray(2 * self.temperature, x.dtype))
        noise = Dense(scale * ((eye[i] - eye[j]) * root[:, None]).T)
        return Rates(descent + self.temperature * spread, noise)

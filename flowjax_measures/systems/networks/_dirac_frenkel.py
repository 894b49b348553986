r"""Evolution on a manifold of functions U(θ), such as networks, by projecting velocities.

    θ̇ = argmin_w ‖DU(θ) w − F(θ)‖            (Dirac–Frenkel, for ∂_t u = F)
    θ̇ = −G⁺ ∇E(θ),   G = DUᵀ DU                (natural gradient, for ∂_t u = −grad E in L²)

The two agree where F = −grad E, and E decreases. Where DU loses rank, as when two neurons collide,
θ̇ blows up: see `MinimizingMovement` ([bon2026]).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar, NonNegative
from ..._system import AbstractSystem
from ...measures import Increment

Embedding = Callable[[PyTree], Float[Array, " q"]]


class DiracFrenkel(AbstractSystem):
    r"""∂_t u = F projected on the tangent space of a manifold; the state is θ, any pytree.

    **Arguments:**

    - `embedding`: θ ↦ U(θ) as a vector whose Euclidean norm is the norm of the Hilbert space:
      values at nodes times roots of quadrature weights.
    - `field`: θ ↦ F as such a vector.
    - `ridge`: ε ≥ 0, adds ε² ‖w‖² to what is minimised.

    !!! example

        `fm.DiracFrenkel(lambda theta: theta**2, lambda u: -u)`
    """

    embedding: Embedding
    field: Embedding
    ridge: NonNegative = 0.0

    def __call__(self, t, state):
        flat, unravel = ravel_pytree(state)
        jacobian = jax.jacfwd(lambda z: self.embedding(unravel(z)))(flat)
        jacobian = jnp.concatenate([jacobian, self.ridge * jnp.eye(flat.size, dtype=flat.dtype)])
        target = jnp.concatenate([self.field(state), jnp.zeros_like(flat)])
        # By QR: the normal equations square the condition number.
        q, r = jnp.linalg.qr(jacobian)
        return Increment(unravel(jax.scipy.linalg.solve_triangular(r, q.T @ target)))


class NaturalGradient(AbstractSystem):
    r"""The L² gradient flow of an energy in the parameters of a manifold.

    **Arguments:** `embedding`: as for `DiracFrenkel`. `energy`: θ ↦ E(U(θ)). `ridge`: ε ≥ 0, adds
    ε² to the metric G.

    !!! example

        `fm.NaturalGradient(lambda theta: theta**2, lambda u: u @ u)`
    """

    embedding: Embedding
    energy: Callable[[PyTree], FloatScalar]
    ridge: NonNegative = 0.0

    def __call__(self, t, state):
        flat, unravel = ravel_pytree(state)
        jacobian = jax.jacfwd(lambda z: self.embedding(unravel(z)))(flat)
        slope = jax.grad(lambda z: self.energy(unravel(z)))(flat)
        metric = jacobian.T @ jacobian + self.ridge**2 * jnp.eye(flat.size, dtype=flat.dtype)
        return Increment(unravel(-jnp.linalg.solve(metric, slope)))

r"""Laplace learning: the gradient flow of the p-Dirichlet energy of labels on a graph.

    E(u) = 1/(2p n² ε^p) Σ_ij W_ij |u_i − u_j|^p,
    u̇_i = −(1/(n ε^p)) Σ_j W_ij |u_i − u_j|^{p−2} (u_i − u_j)   where vertex i has no label

is its gradient flow in L²(μ_n) ([thorpe2019]). With W_ij = ε^{−d} η(|x_i − x_j|/ε) for n samples of
a density ρ, n → ∞ and then ε → 0, it tends to ρ ∂_t u = ½ σ_η ∇·(ρ² |∇u|^{p−2} ∇u),
σ_η = ∫ η(|z|) |z_1|^p dz, the flow of σ_η/(2p) ∫ |∇u|^p ρ² dx; without the ½ in print.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..._custom_types import FloatScalar, Positive
from ..._numerics import checked, safe_power
from ..._system import AbstractMeanField
from ...measures import Particles, Rates
from ...measures._base import concrete
from ..attention._order import paired, told_apart
from ..attention._relation import between


class LaplaceLearning(AbstractMeanField):
    """Labels on the vertices of a graph, of which some are known and stay.

    Particles are the vertices, their points the labels: numbers, or vectors for several classes.

    **Arguments:**

    - `weights`: W, symmetric, shape (n, n).
    - `labelled`: which vertices keep their label, shape (n,); `None` is none of them.
    - `exponent`: p ≥ 1; 2 is linear, u(t) = e^{−tL} u(0) with L = (diag(W1) − W)/(n ε²).
    - `scale`: ε.

    !!! example

        `fm.LaplaceLearning(jnp.ones((8, 8)))`
    """

    weights: Float[Array, "n n"]
    labelled: Bool[Array, " n"] | None = None
    exponent: Positive = 2.0
    scale: Positive = 1.0

    def __check_init__(self):
        shape = jnp.shape(self.weights)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"`weights` has shape {shape}; give one for each pair of vertices.")
        if concrete(self.exponent) and self.exponent < 1:
            raise ValueError(f"`exponent` is {self.exponent}; give p ≥ 1.")
        if concrete(self.weights):
            w = np.asarray(self.weights)
            if np.any(w < 0) or np.abs(w - w.T).max() > 1e-5 * w.max():
                raise ValueError("`weights` is negative or not symmetric; give (W + W.T) / 2.")
        if self.labelled is not None and jnp.shape(self.labelled) != shape[:1]:
            raise ValueError(
                f"`labelled` has shape {jnp.shape(self.labelled)} and not {shape[:1]}; say of each "
                "vertex whether its label is known."
            )

    def energy(self, mu: Particles) -> FloatScalar:
        """E(u)."""
        u = mu.x.reshape(len(mu.x), -1)
        square = jnp.sum((u[:, None] - u[None]) ** 2, -1)
        power = self.weights * safe_power(square, self.exponent / 2)
        w = jax.nn.softmax(mu.log_weights())
        return w @ power @ w / (2 * self.exponent * self.scale**self.exponent)

    def rates(self, t, x, mu):
        if isinstance(mu, Particles) and mu.size() != len(self.weights):
            raise ValueError(
                f"`weights` is of {len(self.weights)} vertices and the state of {mu.size()} "
                "particles; give as many."
            )
        labelled = paired(x)
        (u, i), mu = told_apart(x, mu)
        mu, edge = between("weights", self.weights, i, mu, labelled)

        def pull(y):
            gap = y[0] - u
            weight = jnp.asarray(edge((u, i), y), u.dtype)
            return weight * safe_power(jnp.sum(gap**2), self.exponent / 2 - 1) * gap

        velocity = mu.mean(pull) / self.scale**self.exponent
        if self.labelled is not None:
            velocity = jnp.where(self.labelled[i], 0, velocity)
        return Rates((velocity, None) if labelled else velocity)


@checked
def harmonic_extension(
    weights: Float[Array, "n n"], labels: Float[Array, "n *k"], labelled: Bool[Array, " n"]
) -> Float[Array, "n *k"]:
    """The end of Laplace learning for p = 2: Σ_j W_ij (u_i − u_j) = 0 where no label is known.

    Every vertex must be joined to a label. **Arguments:** as above; `labels` counts where
    `labelled`.

    !!! example

        ```python
        fm.harmonic_extension(
            jnp.ones((4, 4)), jnp.arange(4.0), jnp.array([True, True, False, False])
        )
        ```
    """
    known = labelled[:, None]
    # Rows of known vertices are not read: what they hold that is no number must be seen.
    laplacian = jnp.diag(jnp.sum(weights, 1)) - weights + 0 * jnp.sum(weights)
    system = jnp.where(known, jnp.eye(len(weights), dtype=weights.dtype), laplacian)
    flat = labels.reshape(len(weights), -1)
    return jnp.linalg.solve(system, jnp.where(known, flat, 0)).reshape(labels.shape)

r"""Contractive networks: layers that are gradient flows of convex functions ([celledoni2021]).

    ẋ = −W(t)ᵀ σ(W(t) x + b(t)),   σ nondecreasing with slopes at most ℓ

Two points never move apart, whatever the weights. A layer x − h Wᵀσ(Wx + b), a step of Euler's
method, keeps that for h ≤ 2/(ℓ‖W‖²) in the spectral norm, and for no longer h in general.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Positive
from ..._system import AbstractMeanField
from ...measures import Rates


class ContractiveFlow(AbstractMeanField):
    """Independent points in L layers, each of the time 1/L; run it over [0, 1].

    **Arguments:** `weights`: W of each layer, shape (L, m, d). `biases`: b, shape (L, m).
    `activation`: σ, a function of a number. `slope`: ℓ, 1 for ReLU, tanh, softplus.

    !!! example

        ```python
        net = fm.ContractiveFlow(jr.normal(jr.key(0), (4, 8, 2)), jnp.zeros((4, 8)))
        net.step_bound()  # for layers that do not expand
        ```
    """

    weights: Float[Array, "L m d"]
    biases: Float[Array, "L m"]
    activation: Callable[[FloatScalar], FloatScalar] = jax.nn.relu
    slope: Positive = 1.0

    def __check_init__(self):
        if jnp.shape(self.weights)[:2] != jnp.shape(self.biases):
            raise ValueError(
                f"`biases` has shape {jnp.shape(self.biases)} for weights of shape "
                f"{jnp.shape(self.weights)}; give (L, m) for (L, m, d)."
            )

    def step_bound(self) -> Float[Array, ""]:
        """2/(ℓ max ‖W‖²): steps of Euler's method up to this long do not expand."""
        return 2 / (self.slope * jnp.max(jnp.linalg.norm(self.weights, ord=2, axis=(1, 2))) ** 2)

    def rates(self, t, x, mu):
        count = len(self.weights)
        # Times are sums of steps: one just before a layer's start is its start.
        layer = jnp.clip(jnp.floor(jnp.asarray(t) * count + 1e-4).astype(int), 0, count - 1)
        weights = self.weights[layer].astype(x.dtype)
        hidden = jax.vmap(self.activation)(weights @ x + self.biases[layer].astype(x.dtype))
        return Rates(-weights.T @ hidden)

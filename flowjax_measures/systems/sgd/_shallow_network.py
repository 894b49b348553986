r"""Two-layer networks of infinitely many neurons ([chizat2018], [mei2018]).

    f_μ(z) = ∫ v σ(⟨u, z⟩) μ(du, dv),      R(μ) = (1/N) Σ_k ℓ(f_μ(z_k), y_k)

Training all neurons by gradient descent is the Wasserstein gradient flow of R,

    (u̇, v̇) = −∇_{(u, v)} (1/N) Σ_k ⟨∂ℓ(f_μ(z_k), y_k), v σ(⟨u, z_k⟩)⟩ − λ (u, v).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates


class ShallowNetwork(AbstractMeanField):
    r"""The training flow of a shallow network in the mean-field scaling.

    Neurons are pairs `(u, v)`, u of the inputs' dimension d and v of the targets' shape, or flat
    vectors with u first: a `Gaussian` over these is a linear network's Riccati closure. Time is
    (step size) × (steps) × (number of neurons) of gradient descent on the network's risk.

    **Arguments:**

    - `activation`: function σ of a number.
    - `data`: pair (inputs, targets) of shapes (N, d) and (N,) or (N, d′).
    - `loss`: function ℓ(prediction, target) of one example; (prediction − target)² summed over
      outputs by default.
    - `regularization`: λ ≥ 0, of the energy (λ/2) ∫ ‖u‖² + ‖v‖² dμ.
    """

    activation: Callable[[Float[Array, ""]], Float[Array, ""]]
    data: tuple[Float[Array, "N d"], Float[Array, "N ..."]]
    loss: Callable[[Any, Any], FloatScalar] | None = None
    regularization: FloatScalar = 0.0

    def __check_init__(self):
        inputs, targets = self.data
        if jnp.ndim(inputs) != 2 or jnp.shape(targets)[:1] != jnp.shape(inputs)[:1]:
            raise ValueError(
                f"`data` holds inputs of shape {jnp.shape(inputs)} and targets of shape "
                f"{jnp.shape(targets)}; give (N, d) and (N,) or (N, d')."
            )

    def _neuron(self, x: PyTree) -> tuple[Array, Array]:
        if isinstance(x, tuple):
            return x
        inputs, targets = self.data
        d = inputs.shape[1]
        return x[:d], x[d:].reshape(targets.shape[1:])

    def features(self, x: PyTree) -> Float[Array, "N ..."]:
        """v σ(⟨u, z_k⟩) of one neuron at all inputs."""
        u, v = self._neuron(x)
        hidden = jax.vmap(self.activation)(self.data[0] @ u)
        return hidden.reshape(-1, *[1] * v.ndim) * v

    def predictions(self, mu: AbstractMeasure) -> Float[Array, "N ..."]:
        """f_μ(z_k) at all inputs."""
        return mu.mean(self.features)

    def _losses(self, predictions):
        loss = self.loss or (lambda f, y: jnp.sum((f - y) ** 2))
        return jnp.mean(jax.vmap(loss)(predictions, self.data[1]))

    def risk(self, mu: AbstractMeasure) -> FloatScalar:
        """The energy that the flow descends: R(μ) and the regulariser."""

        def square(x):
            return sum(jnp.sum(a**2) for a in jax.tree.leaves(x))

        weights = self.regularization / 2 * mu.mean(square)
        return self._losses(self.predictions(mu)) + weights

    def rates(self, t, x, mu):
        residuals = jax.grad(self._losses)(self.predictions(mu))
        force = jax.grad(lambda x: jnp.vdot(residuals, self.features(x)))(x)
        return Rates(jax.tree.map(lambda f, a: -f - self.regularization * a, force, x))

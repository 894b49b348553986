r"""Two-layer networks of infinitely many neurons ([chizat2018], [mei2018]).

    f_μ(z) = s ∫ v σ(⟨u, z⟩) μ(du, dv),      F(μ) = (1/N) Σ_k ℓ(f_μ(z_k), y_k) / s² + ∫ P dμ

Training all neurons by gradient descent is the Wasserstein gradient flow of F,

    (u̇, v̇) = −∇_{(u, v)} [(1/N) Σ_k ⟨∂ℓ(f_μ(z_k), y_k), v σ(⟨u, z_k⟩)⟩ / s + P(u, v)].

At s = 1 the neurons move as far as the network does; as s → ∞ (s = √M is the scaling of the neural
tangent kernel) they stay and f follows its linearisation, ḟ = −K ∂ℓ / N ([chizat2019]).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar, Point, Velocity
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
    - `regularization`: λ ≥ 0 for P = (λ/2)(‖u‖² + ‖v‖²), or the function P of one neuron.
    - `scale`: s > 0. With s ≠ 1 start where f is small, as from `initial.neurons(paired=True)`.

    !!! example

        `fm.simulate(fm.ShallowNetwork(jnp.tanh, data), neurons, [0.0, 10.0])`
    """

    activation: Callable[[Float[Array, ""]], Float[Array, ""]]
    data: tuple[Float[Array, "N d"], Float[Array, "N ..."]]
    loss: Callable[[Any, Any], FloatScalar] | None = None
    regularization: FloatScalar | Callable[[Point], FloatScalar] = 0.0
    scale: FloatScalar = 1.0

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
        """s v σ(⟨u, z_k⟩) of one neuron at all inputs."""
        u, v = self._neuron(x)
        hidden = jax.vmap(self.activation)(self.data[0] @ u)
        return self.scale * hidden.reshape(-1, *[1] * v.ndim) * v

    def predictions(self, mu: AbstractMeasure) -> Float[Array, "N ..."]:
        """f_μ(z_k) at all inputs."""
        return mu.mean(self.features)

    def losses(self, predictions: Float[Array, "N ..."]) -> Float[Array, " N"]:
        """ℓ of every example."""
        loss = self.loss or (lambda f, y: jnp.sum((f - y) ** 2))
        return jnp.asarray(jax.vmap(loss)(predictions, self.data[1]))

    def penalty(self, x: PyTree) -> FloatScalar:
        """P of one neuron."""
        if callable(self.regularization):
            return self.regularization(x)
        return self.regularization / 2 * sum(jnp.sum(a**2) for a in jax.tree.leaves(x))

    def risk(self, mu: AbstractMeasure) -> FloatScalar:
        """F(μ), the energy that the flow descends."""
        risk = jnp.mean(self.losses(self.predictions(mu)))
        return risk / self.scale**2 + mu.mean(self.penalty)

    def pull(
        self, x: PyTree, predictions: Float[Array, "N ..."], weights: Float[Array, " N"]
    ) -> Velocity:
        """−∇_x Σ_k weights_k ⟨∂ℓ(f_k, y_k), features_k(x)⟩ / s²: what examples do to a neuron."""
        weigh = lambda f: jnp.vdot(weights.astype(f.dtype), self.losses(f))  # noqa: E731
        residuals = jax.grad(weigh)(predictions)
        force = jax.grad(lambda x: jnp.vdot(residuals, self.features(x)))(x)
        return jax.tree.map(lambda a: -a / self.scale**2, force)

    def velocity(self, x: PyTree, predictions: Float[Array, "N ..."]) -> Velocity:
        """The velocity of the neuron x of a network with these predictions."""
        size = predictions.shape[0]
        force = self.pull(x, predictions, jnp.full(size, 1 / size, predictions.dtype))
        return jax.tree.map(jnp.subtract, force, jax.grad(self.penalty)(x))

    def tangent_kernel(self, mu: AbstractMeasure) -> Float[Array, "K K"]:
        """∫ ⟨∇φ_k, ∇φ_l⟩ dμ with φ = v σ(⟨u, z⟩), over all examples and outputs, ravelled."""

        def gram(x):
            rows = jax.tree.leaves(jax.jacobian(lambda x: self.features(x).ravel())(x))
            flat = jnp.concatenate([a.reshape(a.shape[0], -1) for a in rows], axis=1)
            return flat @ flat.T

        return mu.mean(gram) / self.scale**2

    def rates(self, t, x, mu):
        return Rates(self.velocity(x, self.predictions(mu)))

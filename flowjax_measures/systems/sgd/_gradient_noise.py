r"""The noise of minibatch gradients, without a matrix.

    σ(X) dW = s Σ_i (∇ℓ(X, z_i) − ∇R(X)) dW_i

has the covariance n s² C(X) of the per-example gradients and costs one weighted gradient: it needs
no root of C, which the law of one point doesn't know anyway.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar, Point, Velocity
from ...noise._noise import AbstractNoise, Common, floating
from ._examples import Loss, number_of_examples, weighted_gradient


def centred_gradient(
    loss: Loss, data: PyTree, params: Point, scale: FloatScalar, increment: Float[Array, " n"]
) -> Velocity:
    """s Σ_i (g_i − ḡ) dW_i = s Σ_i g_i (dW_i − mean dW)."""
    weights = jnp.asarray(scale, increment.dtype) * (increment - jnp.mean(increment))
    return weighted_gradient(loss, data, params, weights)


def covariance_product(loss: Loss, data: PyTree, params: Point, vector: Velocity) -> Velocity:
    """C v = (1/n) Σ_i (g_i − ḡ) ⟨g_i − ḡ, v⟩: one pass forward along v, one back."""
    losses = lambda theta: jax.vmap(lambda example: loss(theta, example))(data)  # noqa: E731
    along = jnp.asarray(jax.jvp(losses, (params,), (vector,))[1])
    return centred_gradient(loss, data, params, 1 / along.size, along)


class ExampleNoise(AbstractNoise):
    """One Brownian motion for each of `size` examples; each point has its own.

    **Arguments:** `field`: (x, dW) ↦ σ(x) dW, linear in dW; `size`: the number of examples.
    """

    field: Callable[[Point, Array], Velocity]
    size: int = eqx.field(static=True)

    def brownian(self, x):
        return jax.ShapeDtypeStruct((self.size,), jnp.result_type(*jax.tree.leaves(floating(x))))

    def apply(self, x, increment):
        return self.field(x, increment)

    def squared(self, x):
        sigma = self.matrix(x)
        return sigma @ sigma.T


def gradient_noise(
    loss: Loss,
    data: PyTree,
    scale: FloatScalar,
    shared: bool = False,
    params: Callable[[Point], Point] = lambda x: x,
    push: Callable[[Point, Velocity], Velocity] = lambda x, gradient: gradient,
) -> AbstractNoise:
    """dW ↦ push(x, s Σ_i (g_i − ḡ) dW_i), with `params(x)` the parameters at the point x.

    `shared` gives all points the same W: the noise of the same minibatches.
    """

    def field(x, increment):
        return push(x, centred_gradient(loss, data, params(x), scale, increment))

    noise = ExampleNoise(field, number_of_examples(data))
    return Common(noise) if shared else noise

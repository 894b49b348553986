"""Losses per example: the risk, its gradient and the covariance of minibatch gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar, Point, Velocity

Loss = Callable[[Point, Any], FloatScalar]


def check_data(data: PyTree) -> None:
    """Refuses data whose leaves disagree on the number of examples."""
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(
            f"`data` has leaves of leading axes {sorted(sizes)}; every leaf needs one entry for "
            "each example."
        )


def number_of_examples(data: PyTree) -> int:
    """The length of the leading axis."""
    return jax.tree.leaves(data)[0].shape[0]


def weighted_gradient(
    loss: Loss, data: PyTree, params: Point, weights: Float[Array, " n"]
) -> Velocity:
    """∇_θ Σ_i weights_i ℓ(θ, z_i): one pass forward and one back for any weights."""

    def total(theta):
        losses = jnp.asarray(jax.vmap(lambda example: loss(theta, example))(data))
        return jnp.vdot(weights.astype(losses.dtype), losses)

    return jax.grad(total)(params)


def modified_drift(loss: Loss, data: PyTree, params: Point, eta: FloatScalar | None) -> Velocity:
    """−∇(R + (η/4)‖∇R‖²), or −∇R for η = None, with R the mean loss."""
    n = number_of_examples(data)
    uniform = jnp.full(n, 1 / n, jnp.result_type(*jax.tree.leaves(params)))
    gradient = lambda theta: weighted_gradient(loss, data, theta, uniform)  # noqa: E731
    slope = gradient(params)
    if eta is None:
        return jax.tree.map(jnp.negative, slope)
    # ∇ ¼‖∇R‖² = ½ ∇²R ∇R, a Hessian–vector product.
    curved = jax.jvp(gradient, (params,), (slope,))[1]
    return jax.tree.map(lambda g, h: -g - eta / 2 * h, slope, curved)


def thinning(n: int, batch: FloatScalar, replacement: bool) -> FloatScalar:
    """Var(minibatch mean) / Var(one example): 1/b, or (n − b) / (b (n − 1)) without replacement."""
    return 1 / batch if replacement else (n - batch) / (batch * (n - 1))


def gradient_covariance(loss: Loss, data: PyTree, params: Point) -> Float[Array, "d d"]:
    """(1/n) Σ_i (g_i − ḡ)(g_i − ḡ)ᵀ of the per-example gradients, parameters ravelled."""
    each = jax.vmap(lambda example: ravel_pytree(jax.grad(loss)(params, example))[0])(data)
    centred = each - each.mean(0)
    return centred.T @ centred / each.shape[0]

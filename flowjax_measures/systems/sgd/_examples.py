"""Losses per example: the risk, its gradient and the covariance of minibatch gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar, Point, Velocity
from ..._reduce import tilted_mean

Loss = Callable[[Point, Any], FloatScalar]
Schedule = Callable[[FloatScalar], FloatScalar]
"""u(t): a step at time t has the size η u(t)."""

# So many numbers of per-example gradients are kept at once.
_KEPT = 2**22


def check_data(data: PyTree) -> None:
    """Refuses data whose leaves disagree on the number of examples."""
    wrong = [leaf for leaf in jax.tree.leaves(data) if not hasattr(leaf, "shape")]
    if wrong:
        raise ValueError(f"`data` holds {wrong[0]!r}; give arrays, with one row an example.")
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(data)}
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


def uniform(data: PyTree, params: Point) -> Float[Array, " n"]:
    """The weights 1/n, that make the risk R."""
    n = number_of_examples(data)
    return jnp.full(n, 1 / n, jnp.result_type(*jax.tree.leaves(params)))


def risk_gradient(loss: Loss, data: PyTree, params: Point) -> Velocity:
    """∇R(θ), R the mean loss."""
    return weighted_gradient(loss, data, params, uniform(data, params))


def pace(schedule: Schedule | None, t: FloatScalar) -> tuple[FloatScalar, FloatScalar]:
    """u(t) and u̇(t); 1 and 0 without a schedule."""
    if schedule is None:
        return 1.0, 0.0
    t = jnp.asarray(t, jnp.result_type(t, float))
    return jax.value_and_grad(lambda s: jnp.asarray(schedule(s)))(t)


def modified_drift(
    loss: Loss,
    data: PyTree,
    params: Point,
    eta: FloatScalar | None,
    pace: tuple[FloatScalar, FloatScalar] = (1.0, 0.0),
) -> Velocity:
    """−u∇R − (η/4) u² ∇‖∇R‖² + (η/2) u̇ ∇R, or −u∇R for η = None."""
    u, u_dot = pace
    gradient = lambda theta: risk_gradient(loss, data, theta)  # noqa: E731
    slope = gradient(params)
    if eta is None:
        return jax.tree.map(lambda g: -jnp.asarray(u, g.dtype) * g, slope)
    # ∇ ¼‖∇R‖² = ½ ∇²R ∇R, a Hessian–vector product.
    curved = jax.jvp(gradient, (params,), (slope,))[1]
    first, second = -u + eta / 2 * u_dot, -eta / 2 * u**2

    def combine(g, h):
        return jnp.asarray(first, g.dtype) * g + jnp.asarray(second, g.dtype) * h

    return jax.tree.map(combine, slope, curved)


def thinning(n: int, batch: FloatScalar, replacement: bool) -> FloatScalar:
    """Var(minibatch mean) / Var(one example): 1/b, or (n − b) / (b (n − 1)) without replacement."""
    return 1 / batch if replacement else (n - batch) / (batch * (n - 1))


def gradient_covariance(loss: Loss, data: PyTree, params: Point) -> Float[Array, "d d"]:
    """(1/n) Σ_i (g_i − ḡ)(g_i − ḡ)ᵀ of the per-example gradients, parameters ravelled."""
    each = jax.vmap(lambda example: ravel_pytree(jax.grad(loss)(params, example))[0])(data)
    centred = each - each.mean(0)
    return centred.T @ centred / each.shape[0]


def gradient_squares(loss: Loss, data: PyTree, params: Point, scale: FloatScalar) -> Velocity:
    """E g² coordinate by coordinate for a minibatch gradient g, `scale` its `thinning`."""
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    squares = lambda example: jax.tree.map(jnp.square, jax.grad(loss)(params, example))  # noqa: E731
    each = tilted_mean(squares, None, data, block=max(1, _KEPT // size))[0]
    slope = risk_gradient(loss, data, params)
    return jax.tree.map(lambda q, g: jnp.asarray(scale, g.dtype) * (q - g**2) + g**2, each, slope)

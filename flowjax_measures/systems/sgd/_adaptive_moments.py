"""Points of adaptive optimizers: parameters with averages of gradients and of their squares."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, Velocity


class Moments(NamedTuple):
    """Parameters θ, the average m of gradients (`()` without one) and v of their squares.

    !!! example

        `fm.AdamModifiedEquation(loss, data, 0.1).start(mu)`
    """

    params: Any
    first: Any
    second: Any


def precondition(
    gradient: Velocity, second: Velocity, eps: FloatScalar, eps_root: FloatScalar
) -> Velocity:
    """gradient / (√(v + eps_root) + eps)."""

    def divide(g, v):
        eps_, root = jnp.asarray(eps, g.dtype), jnp.asarray(eps_root, g.dtype)
        return g / (jnp.sqrt(v + root) + eps_)

    return jax.tree.map(divide, gradient, second)


def relax(rate: FloatScalar, target: Velocity, current: Velocity) -> Velocity:
    """rate · (target − current)."""
    return jax.tree.map(lambda a, b: jnp.asarray(rate, b.dtype) * (a - b), target, current)

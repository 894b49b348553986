"""Conjugate gradients from zero, with one product a step: half the code of JAX's to compile."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Vector = Float[Array, " n"]


def conjugate_gradients(
    operator: Callable[[Vector], Vector], b: Vector, tolerance: float | Array, max_steps: int
) -> Vector:
    """x with ‖b − A x‖ ≤ tolerance ‖b‖, for a symmetric A ≥ 0, or the best of `max_steps`."""
    enough = tolerance**2 * jnp.vdot(b, b)

    def going(carry):
        _, _, _, square, k = carry
        return (square > enough) & (k < max_steps)

    def step(carry):
        x, residual, direction, square, k = carry
        bent = operator(direction)
        rate = square / jnp.vdot(direction, bent)
        x, residual = x + rate * direction, residual - rate * bent
        new = jnp.vdot(residual, residual)
        return x, residual, residual + new / square * direction, new, k + 1

    start = jnp.zeros_like(b), b, b, jnp.vdot(b, b), 0
    return jax.lax.while_loop(going, step, start)[0]

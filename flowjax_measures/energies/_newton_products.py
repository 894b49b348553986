"""Newton's method for minima in many variables, by products with the Hessian alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Slope = Callable[[Float[Array, " n"]], Float[Array, " n"]]


def minimum_by_products(slope: Slope, start: Float[Array, " n"], max_steps: int) -> Array:
    """The zero of a gradient, held fixed; NaN where none is found or curvature is not positive."""
    tolerance = jnp.finfo(start.dtype).eps ** 0.6

    def step(carry):
        u, _, k = carry
        move = solve_by_products(slope, u, slope(u))
        return u - move, jnp.linalg.norm(move), k + 1

    def going(carry):
        u, size, k = carry
        return (size > tolerance * (1 + jnp.linalg.norm(u))) & (k < max_steps)

    first = start, jnp.asarray(jnp.inf, start.dtype), 0
    u, size, _ = jax.lax.while_loop(going, step, first)
    solved = size <= tolerance * (1 + jnp.linalg.norm(u))
    return jax.lax.stop_gradient(jnp.where(solved, u, jnp.nan))


def solve_by_products(slope: Slope, u: Float[Array, " n"], target: Array) -> Array:
    """H⁻¹ target by conjugate gradients, H the derivative of `slope` at u, linear in `target`."""
    product = jax.linearize(slope, u)[1]
    epsilon = jnp.finfo(u.dtype).eps

    def solve(_, b):
        def going(carry):
            _, _, _, square, _, k = carry
            return (square > (epsilon**0.8) ** 2 * jnp.vdot(b, b)) & (k < 2 * b.size)

        def step(carry):
            x, residual, direction, square, lowest, k = carry
            bent = product(direction)
            curvature = jnp.vdot(direction, bent)
            rate = square / curvature
            x, residual = x + rate * direction, residual - rate * bent
            new = jnp.vdot(residual, residual)
            lowest = jnp.minimum(lowest, curvature)
            return x, residual, residual + new / square * direction, new, lowest, k + 1

        start = jnp.zeros_like(b), b, b, jnp.vdot(b, b), jnp.asarray(jnp.inf, b.dtype), 0
        x, _, _, square, lowest, _ = jax.lax.while_loop(going, step, start)
        # Along a direction in which the function bends down there is no minimum.
        fine = (lowest > 0) & (square <= epsilon * jnp.vdot(b, b))
        return jnp.where(fine | (jnp.vdot(b, b) == 0), x, jnp.nan)

    return jax.lax.custom_linear_solve(product, target, solve, symmetric=True)

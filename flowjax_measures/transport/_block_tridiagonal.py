r"""Symmetric positive systems that couple neighbours in time: Cholesky's factors, block by block.

    S_{k,k−1} x_{k−1} + S_{kk} x_k + S_{k,k+1} x_{k+1} = r_k

in time (steps) · (unknowns of a step)³, by two sweeps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from .._custom_types import FloatScalar


class Factors(NamedTuple):
    """Inverses of the lower triangles on the diagonal, and the blocks below them.

    A triangle is solved for one vector in the time of hundreds of products with its inverse; what
    that loses in digits is for the caller to refine.
    """

    corners: Float[Array, "steps n n"]
    below: Float[Array, "steps-1 n n"]


def factorize(
    diagonal: Float[Array, "steps n n"], below: Float[Array, "steps-1 n n"], ridge: FloatScalar
) -> Factors:
    """The factors of S; `ridge` is added to its diagonal, relative to it."""
    bare = jnp.diagonal(diagonal, axis1=1, axis2=2)
    diagonal = diagonal + ridge * jax.vmap(jnp.diag)(bare)
    identity = jnp.eye(diagonal.shape[1], dtype=diagonal.dtype)

    def inverse(block):
        return solve_triangular(jnp.linalg.cholesky(block), identity, lower=True)

    def step(corner, blocks):
        here, link = blocks
        link = link @ corner.T
        corner = inverse(here - link @ link.T)
        return corner, (corner, link)

    first = inverse(diagonal[0])
    _, (corners, links) = jax.lax.scan(step, first, (diagonal[1:], below))
    return Factors(jnp.concatenate([first[None], corners]), links)


def solve(factors: Factors, right: Float[Array, "steps n"]) -> Float[Array, "steps n"]:
    """S⁻¹ r."""
    corners, links = factors

    def forth(y, blocks):
        corner, link, r = blocks
        y = corner @ (r - link @ y)
        return y, y

    def back(x, blocks):
        corner, link, y = blocks
        x = corner.T @ (y - link.T @ x)
        return x, x

    first = corners[0] @ right[0]
    _, ys = jax.lax.scan(forth, first, (corners[1:], links, right[1:]))
    ys = jnp.concatenate([first[None], ys])
    last = corners[-1].T @ ys[-1]
    _, xs = jax.lax.scan(back, last, (corners[:-1], links, ys[:-1]), reverse=True)
    return jnp.concatenate([xs, last[None]])

"""Square root and positive part of a symmetric matrix, differentiable any number of times.

The derivative Ṡ of S = A^{1/2} solves S Ṡ + Ṡ S = Ȧ, that of |A| solves it with |A| for S and
A Ȧ + Ȧ A on the right. Nothing differentiates eigenvectors, which
have no derivative where eigenvalues meet, as they do at every isotropic covariance.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def square_root(a: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The symmetric square root of a positive semidefinite matrix.

    Where two eigenvalues are both 0 the root has no derivative; 0 stands for it.
    """
    values, vectors = jnp.linalg.eigh((a + a.T) / 2)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T


@square_root.defjvp
def _square_root_jvp(primals, tangents):
    root = square_root(*primals)
    (a_dot,) = tangents
    return root, lyapunov(root, (a_dot + a_dot.T) / 2)


@jax.custom_jvp
def positive_part(a: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """A symmetric matrix without its negative eigenvalues: the nearest covariance."""
    values, vectors = jnp.linalg.eigh((a + a.T) / 2)
    return (vectors * jnp.maximum(values, 0)) @ vectors.T


@positive_part.defjvp
def _positive_part_jvp(primals, tangents):
    (a,), (a_dot,) = primals, tangents
    part, a, a_dot = positive_part(a), (a + a.T) / 2, (a_dot + a_dot.T) / 2
    return part, (a_dot + lyapunov(2 * part - a, a @ a_dot + a_dot @ a)) / 2


def lyapunov(root: Float[Array, "d d"], right: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """X with root X + X root = right."""

    def solve(_, b):
        values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(root))
        sums = values[:, None] + values[None, :]
        tiny = jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), initial=0)
        inverse = jnp.where(sums > tiny, 1 / jnp.where(sums > tiny, sums, 1), 0)
        return vectors @ (inverse * (vectors.T @ b @ vectors)) @ vectors.T

    return jax.lax.custom_linear_solve(lambda x: root @ x + x @ root, right, solve, symmetric=True)

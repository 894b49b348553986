"""The square root of a symmetric matrix, differentiable any number of times.

The derivative Ṡ of S = A^{1/2} solves S Ṡ + Ṡ S = Ȧ. Nothing differentiates eigenvectors, which
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


def lyapunov(root: Float[Array, "d d"], right: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """X with root X + X root = right."""

    def solve(_, b):
        values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(root))
        sums = values[:, None] + values[None, :]
        tiny = jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), initial=0)
        inverse = jnp.where(sums > tiny, 1 / jnp.where(sums > tiny, sums, 1), 0)
        return vectors @ (inverse * (vectors.T @ b @ vectors)) @ vectors.T

    return jax.lax.custom_linear_solve(lambda x: root @ x + x @ root, right, solve, symmetric=True)

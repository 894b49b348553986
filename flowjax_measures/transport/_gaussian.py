"""Distances and geodesics of Gaussians."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._matrix import square_root
from ..measures import Gaussian


def bures(mu: Gaussian, nu: Gaussian) -> Float[Array, ""]:
    r"""The squared Bures–Wasserstein distance, W₂² of two Gaussians:

    ‖m − n‖² + tr(A + B − 2 (B^{1/2} A B^{1/2})^{1/2}).
    """
    if not (isinstance(mu, Gaussian) and isinstance(nu, Gaussian)):
        raise ValueError(
            f"`bures` is between Gaussians, not {type(mu).__name__} and {type(nu).__name__}; "
            "`wasserstein(mu, nu, 2)` takes other measures."
        )
    root = square_root(nu.cov)
    cross = square_root(root @ mu.cov @ root)
    return jnp.sum((mu.m - nu.m) ** 2) + jnp.trace(mu.cov + nu.cov - 2 * cross)


def bures_map(mu: Gaussian, nu: Gaussian) -> Float[Array, "d d"]:
    """The matrix T of the optimal map x ↦ n + T (x − m) from μ to ν; μ must be non-singular."""
    root = square_root(mu.cov)
    inner = square_root(root @ nu.cov @ root)
    half = jnp.linalg.solve(root, inner)
    return jnp.linalg.solve(root, half.T).T

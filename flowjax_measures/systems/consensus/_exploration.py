"""Noise that grows with the distance to a consensus."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar, Scalar
from ..._numerics._matrix import square_root
from ...noise._noise import AbstractNoise, Dense, Diagonal, Isotropic
from ...spaces import Euclidean

NOISES = ("isotropic", "anisotropic", "covariance", "additive")


def check_exploration(noise: str, truncation: Scalar | None) -> None:
    """Raises where the name of a noise or its truncation makes no sense."""
    if noise not in NOISES:
        raise ValueError(f"`noise` is {noise!r}; it is one of {NOISES}.")
    if truncation is not None and noise in ("covariance", "additive"):
        raise ValueError(f"`truncation` has no meaning for {noise} noise; leave it out.")


def exploration(
    noise: str,
    sigma: Scalar,
    away: PyTree[Array],
    spread: Callable[[], Float[Array, "d d"]] | None = None,
    truncation: Scalar | None = None,
) -> AbstractNoise:
    """The noise of a point at `away` = X − c; `spread()` is C, asked for where it is used.

    With σ = 0 as a number the noise is there, and eats no Brownian motion: a run needs no key and
    keeps the steps that are the method's.
    """
    if isinstance(sigma, int | float) and sigma == 0:
        flat = ravel_pytree(away)[0]
        return Dense(jnp.zeros((flat.size, 0), flat.dtype))
    if noise == "additive":
        return Isotropic(sigma)
    if noise == "covariance" and spread is not None:
        return Dense(sigma * square_root(spread()))
    if noise == "anisotropic":
        if truncation is not None:
            away = jax.tree.map(lambda z: jnp.clip(z, -truncation, truncation), away)
        return Diagonal(jax.tree.map(lambda z: sigma * z, away))
    distance = Euclidean().distance(away, jax.tree.map(jnp.zeros_like, away))
    return Isotropic(
        sigma * (distance if truncation is None else jnp.minimum(distance, truncation))
    )


def heaviside(gap: FloatScalar) -> FloatScalar:
    """1 where the gap is positive."""
    return jnp.asarray(gap > 0, jnp.result_type(gap))

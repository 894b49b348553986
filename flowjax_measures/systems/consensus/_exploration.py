"""Noise that grows with the distance to a consensus."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._custom_types import Scalar
from ..._matrix import square_root
from ..._noise import AbstractNoise, Dense, Diagonal, Isotropic
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
    """The noise of a point at `away` = X − c; `spread()` is C, asked for where it is used."""
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

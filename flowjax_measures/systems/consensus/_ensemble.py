"""Moments that ensemble Kalman methods are made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import Point
from ...measures import AbstractMeasure, Particles
from ...noise._noise import floating


class Moments(NamedTuple):
    """Mean of the points, mean of their images, and the covariance between both."""

    point: Float[Array, " d"]
    image: Float[Array, " m"]
    cross: Float[Array, "d m"]


def flat(x: Point) -> Float[Array, " d"]:
    """The float leaves of a point as one vector."""
    return ravel_pytree(floating(x))[0]


def moments(mu: AbstractMeasure, forward: Callable[[Point], Any]) -> Moments:
    """C^{uG} = ⟨(u − ⟨u⟩)(G(u) − ⟨G⟩)ᵀ⟩ and the means."""
    image = lambda y: jnp.ravel(forward(y))  # noqa: E731
    point_mean, image_mean = mu.mean(lambda y: (flat(y), image(y)))
    cross = mu.mean(lambda y: jnp.outer(flat(y) - point_mean, image(y) - image_mean))
    return Moments(point_mean, image_mean, cross)


def covariance_matrix(cov: Any, size: int, name: str) -> Float[Array, "m m"]:
    """A variance, the variances of m components or a matrix as a matrix."""
    cov = jnp.asarray(cov)
    if cov.shape not in ((), (1,), (size,), (size, size)):
        raise ValueError(
            f"`{name}` has shape {cov.shape}; give a variance, {size} variances or a matrix of "
            f"shape {(size, size)}."
        )
    return cov if cov.ndim == 2 else jnp.diag(jnp.broadcast_to(cov, (size,)))


def finite_size_drift(x: Float[Array, " d"], mu: AbstractMeasure) -> Float[Array, " d"]:
    r"""∇·C = (d + 1)/N (x − ⟨x⟩), by which N equal particles keep their invariant law exactly."""
    if not isinstance(mu, Particles):
        return jnp.zeros_like(x)
    return (x.size + 1) / mu.size() * (x - mu.mean(flat))

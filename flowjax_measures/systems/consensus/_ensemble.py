"""Moments that ensemble Kalman methods are made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from ..._custom_types import Point
from ..._numerics import given
from ...measures import AbstractMeasure, Particles
from ...measures._base import concrete
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
    """C^{uG} = ⟨(u − ⟨u⟩)(G(u) − ⟨G⟩)ᵀ⟩ and the means, of the members whose model ran.

    A member of particles where G is not finite is left out.
    """
    image = lambda y: jnp.ravel(forward(y))  # noqa: E731
    if not isinstance(mu, Particles):
        point_mean, image_mean = mu.mean(lambda y: (flat(y), image(y)))
        cross = mu.mean(lambda y: jnp.outer(flat(y) - point_mean, image(y) - image_mean))
        return Moments(point_mean, image_mean, cross)
    ran = lambda y: jnp.where(jnp.all(jnp.isfinite(image(y))), 0.0, -jnp.inf)  # noqa: E731
    point_mean, image_mean = mu.mean(lambda y: (flat(y), finite(image(y))), ran)
    cross = mu.mean(lambda y: jnp.outer(flat(y) - point_mean, finite(image(y)) - image_mean), ran)
    return Moments(point_mean, image_mean, cross)


def covariance_matrix(cov: Any, size: int, name: str) -> Float[Array, "m m"]:
    """A variance, the variances of m components or a matrix as a matrix."""
    cov = given(name, cov)
    if cov.shape not in ((), (1,), (size,), (size, size)):
        raise ValueError(
            f"`{name}` has shape {cov.shape}; give a variance, {size} variances or a matrix of "
            f"shape {(size, size)}."
        )
    return cov if cov.ndim == 2 else jnp.diag(jnp.broadcast_to(cov, (size,)))


def finite(image: Float[Array, " m"]) -> Float[Array, " m"]:
    """The image, 0 where a model that did not run has none."""
    return jnp.where(jnp.isfinite(image), image, 0)


def moved_where_run(image: Float[Array, " m"], v: Float[Array, " d"]) -> Float[Array, " d"]:
    """A member whose model did not run stands still."""
    return jnp.where(jnp.all(jnp.isfinite(image)), v, 0)


def failed(mu: Particles, forward: Callable[[Point], Any]) -> Int[Array, ""]:
    """The number of members of positive mass whose model did not run."""
    ran = jax.vmap(lambda y: jnp.all(jnp.isfinite(jnp.ravel(forward(y)))))(mu.x)
    return jnp.sum(~ran & (mu.log_weights() > -jnp.inf))


def check_data(data: Any, noise_cov: Any) -> None:
    """Refuses data and noise by which no model can be weighed."""
    if concrete(data) and not np.all(np.isfinite(np.asarray(data))):
        raise ValueError("`data` holds NaN or inf; leave those entries out, in `forward` too.")
    check_covariance("noise_cov", covariance_matrix(noise_cov, data.size, "noise_cov"))


def check_covariance(name: str, cov: Any) -> None:
    """Refuses what is not a variance, variances or a covariance matrix, and of full rank."""
    if not concrete(cov):
        return
    values = np.asarray(cov, float)
    values = values if values.ndim == 2 else np.diag(np.ravel(values))
    good = np.all(np.isfinite(values)) and np.allclose(values, values.T)
    if not good or not np.linalg.eigvalsh(values).min() > 0:
        raise ValueError(
            f"`{name}` is not a positive definite matrix of finite numbers; give variances > 0, "
            "or such a matrix."
        )


def misfit(image: Float[Array, " m"], data: Any) -> Float[Array, " m"]:
    """G(u) − y, where both have as many numbers."""
    data = jnp.ravel(data)
    if image.size != data.size:
        raise ValueError(
            f"`data` has {data.size} numbers, and `forward` returns {image.size}; give as many."
        )
    return image - data


def finite_size_drift(x: Float[Array, " d"], mu: AbstractMeasure) -> Float[Array, " d"]:
    r"""∇·C = (d + 1)/N (x − ⟨x⟩), by which N equal particles keep their invariant law exactly."""
    if not isinstance(mu, Particles):
        return jnp.zeros_like(x)
    return (x.size + 1) / mu.size() * (x - mu.mean(flat))

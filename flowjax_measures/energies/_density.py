"""The density of a measure at a point, where the measure has one."""

from itertools import product
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Point
from ..kernels._radial import DensityKernel
from ..measures import Gaussian, GridDensity


def log_density(x: Point, mu: Any, kernel: DensityKernel | None = None) -> FloatScalar:
    """log ρ(x): exact from a Gaussian, linear between the cells of a grid.

    Atoms have no density: `kernel` estimates one, log ∫ k_h(x, y) μ(dy), smoothed at the scale h.
    """
    if isinstance(mu, Gaussian):
        return mu.log_density(x)
    if isinstance(mu, GridDensity):
        rho = _interpolate(x, mu)
        return jnp.where(rho > 0, jnp.log(jnp.where(rho > 0, rho, 1)), -jnp.inf)
    if kernel is None:
        raise ValueError(
            f"{type(mu).__name__} has no density, and this energy was asked for its value or its "
            "first variation. Give the energy a kernel to estimate one, "
            "kernel=GaussianKernel(bandwidth), on a finite set kernel=CountingKernel(), or start "
            "from a Gaussian or a GridDensity."
        )
    return mu.logmean(lambda y: kernel.log_density(x, y))


def _interpolate(x: Float[Array, " d"], mu: GridDensity) -> Float[Array, ""]:
    place = (x - mu.lower) / mu.spacing - 0.5
    below = jnp.floor(place)
    part = place - below
    value = jnp.zeros((), mu.rho.dtype)
    for corner in product((0, 1), repeat=mu.rho.ndim):
        index, share = [], jnp.ones((), mu.rho.dtype)
        for axis, up in enumerate(corner):
            size = mu.rho.shape[axis]
            at = below[axis].astype(int) + up
            index.append(at % size if mu.periodic[axis] else jnp.clip(at, 0, size - 1))
            share = share * (part[axis] if up else 1 - part[axis])
        value = value + share * mu.rho[tuple(index)]
    return value

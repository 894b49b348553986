r"""Tilts of a law by ⟨c, x⟩ − t|x|²/2, in closed form part by part of a mixture of Gaussians.

Of N(m, B), where B may stand for B less a multiple of the identity, with M = I + tB:

    log Z = −½ log det M + ½ cᵀM⁻¹Bc + cᵀM⁻¹m − ½t mᵀM⁻¹m,   mean M⁻¹(m + Bc),  covariance M⁻¹B
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._numerics._matrix import square_root
from ...energies._ground import space_of
from ...kernels._base import log_mass
from ...measures import AbstractMeasure, Gaussian, GridDensity, Particles
from ...spaces._product import is_flat


class Tilt(NamedTuple):
    """The logarithm of the normaliser, the mean and the covariance of a tilted law."""

    log_z: FloatScalar
    mean: Float[Array, " d"]
    covariance: Float[Array, "d d"]


def check_target(name: str, target: Any) -> None:
    """Raises a `ValueError` where `target` is not a law on a flat space."""
    if not isinstance(target, Gaussian | GridDensity | Particles):
        raise ValueError(
            f"`target` of {name} is {type(target).__name__}; give a Gaussian, Particles, or a "
            "mixture of Gaussians Particles((means, covariances), log_w)."
        )
    if not is_flat(space_of(target)):
        raise ValueError(f"`target` of {name} is on {space_of(target)}; give one on flat space.")


def tilt(target: AbstractMeasure, t: FloatScalar, c: Float[Array, " d"], less: float = 0.0) -> Tilt:
    """The target, of mass one, tilted; `less` · I is taken from the covariances of its parts."""
    t = jnp.asarray(t, c.dtype)
    if isinstance(target, Gaussian):
        return part((target.m, target.cov), t, c, less)
    # Means first, and then covariances about their mean.
    mean, log_z = target.tilt(
        lambda q: part(q, t, c, less).mean, lambda q: part(q, t, c, less).log_z
    )

    def spread(q):
        own = part(q, t, c, less)
        return own.covariance + jnp.outer(own.mean - mean, own.mean - mean)

    covariance = target.mean(spread, lambda q: part(q, t, c, less).log_z)
    return Tilt(log_z - log_mass(target), mean, covariance)


def part(q: Any, t: FloatScalar, c: Float[Array, " d"], less: float = 0.0) -> Tilt:
    """The tilt of an atom q, or of a Gaussian q = (m, B)."""
    identity = jnp.eye(c.size, dtype=c.dtype)
    if not isinstance(q, tuple):
        scale = 1 - less * t
        log_z = jnp.vdot(q, c) - (less * jnp.vdot(c, c) + t * jnp.vdot(q, q)) / 2
        log_z = log_z / scale - c.size * jnp.log(scale) / 2
        return Tilt(log_z, (q - less * c) / scale, -less / scale * identity)
    m, cov = q
    cov = cov - less * identity
    root = jnp.linalg.cholesky(identity + t * cov)
    # All with one factor: of M⁻¹Bc, M⁻¹m and M⁻¹B.
    right = jnp.concatenate([jnp.stack([cov @ c, m], 1), cov], 1)
    solved = cho_solve((root, True), right)
    moved, own, narrowed = solved[:, 0], solved[:, 1], solved[:, 2:]
    log_z = jnp.vdot(c, moved / 2 + own) - t * jnp.vdot(m, own) / 2
    return Tilt(log_z - jnp.sum(jnp.log(jnp.diagonal(root))), own + moved, narrowed)


def known_step(x: Array, drift: Array, slope: Array, dt: Any, increments: Array) -> Array:
    """x + h v + (h + h²∇v)^{1/2} Z: a step with the mean and the covariance that tilts have."""
    h = jnp.asarray(dt, x.dtype)
    spread = square_root(jnp.eye(x.size, dtype=x.dtype) + h * slope)
    return x + h * drift + spread @ increments

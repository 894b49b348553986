"""What `kalman_filter` is given: observations with gaps, covariances, times."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._numerics._given import given
from ..measures import AbstractMeasure, Particles
from ..measures._base import concrete
from ..spaces import Euclidean
from ..systems.consensus._ensemble import covariance_matrix


class Observed(NamedTuple):
    """Observations, 0 where they are missing, and which are there."""

    values: Float[Array, "T m"]
    there: Bool[Array, "T m"]


def observed(observations: Any) -> Observed:
    """Observations with their gaps: NaN, or the mask of a NumPy masked array."""
    if isinstance(observations, np.ma.MaskedArray):
        observations = np.where(np.ma.getmaskarray(observations), np.nan, observations.data)
    y = given("observations", observations)
    if y.ndim != 2:
        raise ValueError(f"`observations` has shape {y.shape}; give (times, numbers).")
    y = y if jnp.issubdtype(y.dtype, jnp.inexact) else y.astype(float)
    if jnp.issubdtype(y.dtype, jnp.complexfloating):
        raise ValueError("`observations` are complex; give real numbers.")
    if concrete(y) and np.any(np.isinf(np.asarray(y))):
        raise ValueError("`observations` holds inf; NaN is what is missing.")
    there = ~jnp.isnan(y)
    return Observed(jnp.where(there, y, 0), there)


def present(
    there: Bool[Array, " m"], images: Float[Array, "n m"], noise_cov: Float[Array, "m m"]
) -> tuple[Float[Array, "n m"], Float[Array, "m m"]]:
    """Images and noise by which an analysis sees the observations that are there alone.

    A missing one has the image 0 in all members and noise 1 of its own: it tells nothing, and the
    noise of the others is their marginal.
    """
    both = there[:, None] & there[None, :]
    own = jnp.eye(there.size, dtype=noise_cov.dtype)
    return jnp.where(there, images, 0), jnp.where(both, noise_cov, own)


def positive(cov: Any, size: int, name: str, strictly: bool) -> Float[Array, "k k"]:
    """A covariance as a matrix, with finite and (strictly) positive eigenvalues."""
    matrix = covariance_matrix(cov, size, name)
    if concrete(matrix):
        values = np.asarray(matrix, float)
        finite = np.all(np.isfinite(values)) and np.allclose(values, values.T)
        least = np.linalg.eigvalsh(values).min() if finite else -np.inf
        if least < 0 - 1e-6 * abs(values).max() or (strictly and not least > 0):
            wanted = "positive definite" if strictly else "positive semidefinite"
            raise ValueError(
                f"`{name}` is not a {wanted}, symmetric matrix of finite numbers; give variances "
                f"{'> 0' if strictly else '≥ 0'}, or such a matrix."
            )
    return matrix


def check_initial(initial: Any) -> None:
    """Refuses what no filter starts from."""
    if not isinstance(initial, AbstractMeasure):
        raise ValueError(
            f"`initial` is {type(initial).__name__}; give Particles(x) for an ensemble of shape "
            "(N, d), a Gaussian or a GridDensity."
        )
    if isinstance(initial, Particles):
        if not (isinstance(initial.x, jax.Array) and initial.x.ndim == 2):
            raise ValueError("`initial` has members that are not vectors; ravel them first.")
        if not isinstance(initial.space, Euclidean):
            raise ValueError(
                f"`initial` lives in {type(initial.space).__name__}, on which no analysis is "
                "linear; give Particles without `space`."
            )
        if initial.size() < 2:
            raise ValueError("`initial` has one member; an ensemble has at least two.")
    initial.check()
    leaves = [a for a in jax.tree.leaves(initial) if jnp.issubdtype(a.dtype, jnp.inexact)]
    if any(concrete(a) and np.any(np.isnan(np.asarray(a))) for a in leaves):
        raise ValueError("`initial` holds NaN; give an ensemble of finite numbers.")


def spans(times: Any, count: int) -> Float[Array, "T 2"] | None:
    """The interval before each observation."""
    if times is None:
        return None
    times = jnp.asarray(times, float)
    if times.shape != (count + 1,):
        raise ValueError(
            f"`times` has shape {times.shape} for {count} observations; give the time of `initial` "
            f"and then those of the observations, {count + 1} in all."
        )
    if concrete(times) and not np.all(np.diff(np.asarray(times, float)) > 0.0):
        raise ValueError("`times` must be finite and strictly increasing.")
    return jnp.stack([times[:-1], times[1:]], axis=1)

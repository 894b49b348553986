"""Whether a state is one: free of NaN and inf, and of covariances that are none."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..measures import Gaussian
from ..measures._base import is_measure

# Of the largest eigenvalue now, and of the start, where a controller's tolerance may be met from
# below: eigenvalues as negative as this are round-off.
_SLACK = 1e-3, 1e-6


def finite(y: PyTree) -> Array:
    """Whether every leaf is free of NaN and inf."""
    # x·0 is 0 or NaN, so one sum decides and no finite sum can overflow.
    sums = [jnp.sum(jax.lax.stop_gradient(a) * 0) for a in jax.tree.leaves(y)]
    return jnp.isfinite(sum(sums[1:], sums[0]))


def proper(y: PyTree, start: PyTree, whole: bool = False) -> Array:
    """… and whether no variance is negative; if `whole`, no eigenvalue of a covariance.

    A step that is too long for the closure of a `Gaussian` makes its covariance indefinite long
    before it is infinite.
    """
    fine = finite(y)
    for now, then in zip(_covariances(y), _covariances(start), strict=True):
        diagonal = jnp.linalg.eigvalsh(now) if whole else jnp.diagonal(now)
        slack = _SLACK[0] * jnp.max(jnp.abs(diagonal)) + _SLACK[1] * jnp.max(jnp.abs(then))
        fine &= ~jnp.any(diagonal < -slack)
    return fine


def _covariances(y: PyTree) -> list[Array]:
    measures = jax.tree.leaves(y, is_leaf=is_measure)
    return [jax.lax.stop_gradient(mu.cov) for mu in measures if isinstance(mu, Gaussian)]

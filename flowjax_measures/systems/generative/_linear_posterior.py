r"""Bayes' rule for linear observations of a Gaussian or of a mixture of Gaussians.

y = A x + e,   e ~ N(0, R):   part i becomes N(m_i + K_i(y − A m_i), C_i − K_i A C_i),
K_i = C_i Aᵀ S_i⁻¹,   S_i = A C_i Aᵀ + R,   its mass w_i N(y; A m_i, S_i)
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

from ..._numerics import checked
from ...measures import Gaussian, Particles
from ...measures._base import concrete


@checked
def linear_posterior(
    prior: Gaussian | Particles,
    matrix: Float[Array, "rows d"],
    observation: Float[Array, " k"],
    noise: Float[Array, "m m"],
) -> Any:
    """The law of x given y = A x + e: the exact answer of a linear inverse problem.

    As the target of a `StochasticInterpolant` it is what guided sampling should reach.

    **Arguments:** `prior`: a `Gaussian`, or a mixture `Particles((means, covariances), log_w)`,
    which stays one, with normalised masses. `matrix`: A. `observation`: y. `noise`: R, positive
    definite.

    **Raises:** `ValueError` that names the argument.

    !!! example

        `linear_posterior(prior, jnp.ones((1, 2)), y, 0.1 * jnp.eye(1))`
    """
    if isinstance(prior, Gaussian):
        means, covs = prior.m[None], prior.cov[None]
    elif isinstance(prior.x, tuple) and len(prior.x) == 2:
        means, covs = prior.x
    else:
        raise ValueError("`prior` has atoms; give a mixture Particles((means, covariances)).")
    k, d = observation.size, means.shape[1]
    if matrix.shape != (k, d):
        raise ValueError(f"`matrix` has shape {matrix.shape} for y of {k} and x of {d} numbers.")
    if noise.shape != (k, k):
        raise ValueError(f"`noise` has shape {noise.shape}; give R, of shape {(k, k)}.")

    if concrete(observation) and not bool(jnp.all(jnp.isfinite(observation))):
        raise ValueError("`observation` holds NaN or inf; leave out what was not observed.")

    def part(m, cov):
        across = cov @ matrix.T
        root = jnp.linalg.cholesky(matrix @ across + noise)
        gap = observation - matrix @ m
        gain = cho_solve((root, True), across.T).T
        # In Joseph's form the covariance stays positive.
        keep = jnp.eye(d, dtype=cov.dtype) - gain @ matrix
        rest = keep @ cov @ keep.T + gain @ noise @ gain.T
        log = -jnp.vdot(gap, cho_solve((root, True), gap)) / 2
        log = log - jnp.sum(jnp.log(jnp.diagonal(root))) - k * math.log(2 * math.pi) / 2
        return m + gain @ gap, (rest + rest.T) / 2, log

    means, covs, logs = jax.vmap(part)(means, covs)
    if isinstance(prior, Gaussian):
        return Gaussian(means[0], covs[0])
    return Particles((means, covs), jax.nn.log_softmax(prior.log_weights() + logs))

r"""Exact moments of SGD: what one step does to a mean and a covariance.

    m ← m − η E∇R,   Σ ← A Σ Aᵀ + η² E C_b,   A = I − η E∇²R,   over N(m, Σ)

with C_b the covariance of a minibatch gradient.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._custom_types import Count, Positive
from ..._numerics import checked
from ..._numerics._cubature import expect
from ...measures import Gaussian
from ...measures._base import replace
from ._examples import (
    Loss,
    check_data,
    gradient_covariance,
    number_of_examples,
    risk_gradient,
    thinning,
)


@checked
def sgd_moments(
    loss: Loss,
    data: PyTree,
    eta: Positive,
    batch: Positive,
    mu: Gaussian,
    steps: Count,
    replacement: bool = True,
) -> Gaussian:
    r"""Mean and covariance after `steps` steps of SGD from `mu`.

    Exact for losses quadratic in the parameters, whatever the law of the noise; otherwise the
    Gaussian closure of the process.

    **Arguments:** as of `StochasticModifiedEquation`; `mu`: the law of the initial parameters (a
    Dirac has zero covariance); `steps`: the number of steps k, at time kη of the limits.

    !!! example

        `fm.sgd_moments(loss, data, 0.1, 2, fm.Gaussian(jnp.zeros(2), jnp.zeros((2, 2))), 10).m`
    """
    check_data(data)
    share = thinning(number_of_examples(data), batch, replacement)
    gradient = lambda x: risk_gradient(loss, data, x)  # noqa: E731

    def step(mu, _) -> tuple[Any, None]:
        eta_ = jnp.asarray(eta, mu.m.dtype)
        pull = jnp.eye(mu.m.size, dtype=mu.m.dtype) - eta_ * expect(
            jax.jacfwd(gradient), mu.m, mu.cov
        )
        noise = expect(lambda x: gradient_covariance(loss, data, x), mu.m, mu.cov)
        cov = pull @ mu.cov @ pull.T + eta_**2 * jnp.asarray(share, noise.dtype) * noise
        return replace(mu, m=mu.m - eta_ * expect(gradient, mu.m, mu.cov), cov=cov), None

    return jax.lax.scan(step, mu, length=steps)[0]

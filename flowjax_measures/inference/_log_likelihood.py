r"""The log-likelihood of data under a flow from a source with a density.

log ρ_T(x) = log ρ_0(X_0) − ∫_0^T ∇·v(t, X_t) dt,   X_T = x
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Count, PRNGKey, Scalar
from .._numerics import checked
from .._system import AbstractMeanField
from ..measures import Particles
from ..simulation import simulate
from ..systems.generative import LogLikelihood


@checked
def log_likelihood(
    flow: AbstractMeanField,
    x: Float[Array, "n d"],
    source: Any,
    *,
    horizon: Scalar = 1.0,
    divergence: str = "exact",
    key: PRNGKey | None = None,
    probes: Count = 1,
    **options: Any,
) -> Float[Array, " n"]:
    r"""log ρ_T at points, by running the flow back to its source.

    Differentiable in the points and in what the flow holds.

    **Arguments:**

    - `flow`: the system, without noise. `x`: the points, shape (n, d).
    - `source`: ρ_0, something with `log_density(x)` such as a `Gaussian`, or that function.
    - `horizon`: T. `divergence`, `key`, `probes`: as of `LogLikelihood`; "hutchinson" has the
      variance of its signs, and no bias.
    - `options`: of `simulate`: `dt`, `solver`, `stepsize_controller`, …

    **Raises:** `ValueError` for a flow with noise, or a source without a density.

    !!! example

        `fm.log_likelihood(flow, data, fm.Gaussian(jnp.zeros(2), jnp.eye(2)), dt=0.02)`
    """
    density = getattr(source, "log_density", source)
    points = isinstance(source, Particles) and not source.is_mixture()
    if points or not callable(density):
        raise ValueError(
            f"`source` is {type(source).__name__}, which has no density; give a Gaussian, or a "
            "function x ↦ log ρ_0(x)."
        )
    system = LogLikelihood(flow, horizon, divergence, key, probes)
    ts: Any = [0.0, horizon]
    state = Particles((x, jnp.zeros(len(x), x.dtype)))
    start, change = simulate(system, state, ts, **options).final.x
    return jax.vmap(density)(start) + change

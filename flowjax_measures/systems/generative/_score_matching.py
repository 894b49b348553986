r"""The regression whose minimiser is the score of an interpolant, from its noise.

s(t, x) = −E[K⁻¹R_t | I_t = x], with R the noise that is in I and K its covariance.
"""

import jax
import jax.numpy as jnp

from ..._custom_types import Count, FloatScalar, PRNGKey
from ..._numerics import checked
from ...measures import Gaussian
from ._draws import normals, uniforms
from ._paths import Field, quiet, values
from ._stochastic_interpolant import StochasticInterpolant


@checked
def score_matching_loss(
    score: Field, interpolant: StochasticInterpolant, key: PRNGKey, n: Count
) -> FloatScalar:
    r"""Denoising score matching, ∫_0^1 E‖√k s(t, I_t) + √k K⁻¹R_t‖² dt by n draws ([vincent2011]).

    R = α(X_0 − m) + γZ is the noise of the interpolant, K = α²C + γ²I its covariance, k = tr K/d;
    X_0 counts as noise where the source is a `Gaussian` N(m, C), independent of the target.

    !!! example

        ```python
        fm.score_matching_loss(
            lambda t, x: -x,
            fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), mu),
            key,
            16,
        )
        ```
    """
    ends, times, draws = jax.random.split(key, 3)
    x, y = interpolant.sample(ends, n)
    ts = uniforms(times, n, x.dtype)
    z = normals(draws, x)
    source, d = interpolant.source, x.shape[1]
    noise = source if isinstance(source, Gaussian) and interpolant.coupling.independent else None
    if noise is None and quiet(interpolant.schedule):
        raise ValueError(
            "`interpolant` has no noise, and its laws may have no score: its `source` is no "
            "independent Gaussian and γ is 0. Give a schedule with `gamma`."
        )
    if noise is not None:
        spread, axes = jnp.linalg.eigh(jax.lax.stop_gradient(noise.cov))

    def one(t, x, y, z):
        alpha, beta, square = interpolant.schedule(t)
        gamma = jnp.sqrt(jnp.asarray(square, x.dtype))
        here, rest = alpha * x + beta * y + gamma * z, gamma * z
        if noise is None:
            return here, rest / square, square
        rest = rest + alpha * (x - noise.m)
        fixed = jax.lax.stop_gradient(square + alpha**2 * spread)
        solve = lambda r: axes @ ((axes.T @ r) / fixed)  # noqa: E731
        # Equal eigenvalues have no derivative; what K lacks of K⁻¹ ≈ `solve` has that of K⁻¹.
        pull = solve(rest)
        pull = pull + solve(rest - square * pull - alpha**2 * noise.cov @ pull)
        return here, pull, square + alpha**2 * jnp.trace(noise.cov) / d

    here, pull, size = jax.vmap(one)(ts, x, y, z)
    gap = values(score, "score", here, ts, here) + pull
    return jnp.mean(size * jnp.sum(gap**2, axis=1))

r"""Regressions whose minimisers are the fields of an interpolant or of a drift.

Each is a mean over n draws, differentiable in the field; `optax` does the rest.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, PRNGKey, Scalar
from ..._system import AbstractMeanField
from ...measures import Gaussian, Particles
from ._schedules import moving
from ._stochastic_interpolant import StochasticInterpolant

Field = Callable[[FloatScalar, Array], Array]


def flow_matching_loss(
    velocity: Field, interpolant: StochasticInterpolant, key: PRNGKey, n: int
) -> FloatScalar:
    r"""∫_0^1 E‖v(t, I_t) − İ_t‖² dt by n draws ([lipman2023], [albergo2023]).

    Its minimum, at the exact velocity, measures how much paths cross: 0 where the coupling is
    straight ([liu2023]).
    """
    ends, times, noise = jax.random.split(key, 3)
    x, y = interpolant.sample(ends, n)
    ts = jax.random.uniform(times, (n,), x.dtype)
    z = jax.random.normal(noise, x.shape, x.dtype)

    def one(t, x, y, z):
        (alpha, beta, square), (alpha_dot, beta_dot, square_dot) = moving(interpolant.schedule, t)
        quiet = square <= 0
        gamma = jnp.sqrt(jnp.where(quiet, 1, square))
        here = alpha * x + beta * y + jnp.where(quiet, 0, gamma) * z
        there = alpha_dot * x + beta_dot * y + jnp.where(quiet, 0, square_dot / (2 * gamma)) * z
        return jnp.sum((velocity(t, here) - there) ** 2)

    return jnp.mean(jax.vmap(one)(ts, x, y, z))


def score_matching_loss(
    score: Field, interpolant: StochasticInterpolant, key: PRNGKey, n: int
) -> FloatScalar:
    r"""Denoising score matching, ∫_0^1 E‖√k s(t, I_t) + √k K⁻¹R_t‖² dt by n draws ([vincent2011]).

    R = α(X_0 − m) + γZ is the noise of the interpolant, K = α²C + γ²I its covariance, k = tr K/d;
    X_0 counts as noise where the source is a `Gaussian` N(m, C), independent of the target.
    """
    ends, times, noise = jax.random.split(key, 3)
    x, y = interpolant.sample(ends, n)
    ts = jax.random.uniform(times, (n,), x.dtype)
    z = jax.random.normal(noise, x.shape, x.dtype)
    source, d = interpolant.source, x.shape[1]
    independent = interpolant.coupling.independent

    def one(t, x, y, z):
        alpha, beta, square = interpolant.schedule(t)
        rest = jnp.sqrt(square) * z
        cov = square * jnp.eye(d, dtype=x.dtype)
        if isinstance(source, Gaussian) and independent:
            rest, cov = rest + alpha * (x - source.m), cov + alpha**2 * source.cov
        here = alpha * x + beta * y + jnp.sqrt(square) * z
        gap = score(t, here) + jnp.linalg.solve(cov, rest)
        return jnp.trace(cov) / d * jnp.sum(gap**2)

    return jnp.mean(jax.vmap(one)(ts, x, y, z))


def drifting_loss(
    generator: Callable[[Array], Array],
    drift: AbstractMeanField,
    latents: Float[Array, "n k"],
    step: Scalar = 1.0,
) -> FloatScalar:
    r"""The mean of ‖G(z) − (G(z) + h v[μ](G(z)))‖², its second term fixed ([deng2026]).

    μ is the law of the generated points G(z); v is the velocity of `drift`, such as a
    `DriftingFlow` or a `GradientFlow`. Descent moves G(z) along v.

    **Arguments:** `generator`: G of one latent. `latents`: fresh draws z. `step`: h.
    """
    points = jax.vmap(generator)(latents)
    still = jax.lax.stop_gradient(points)
    mu = Particles(still)
    moved = jax.vmap(lambda x: x + step * drift.rates(0.0, x, mu).velocity)(still)
    return jnp.mean(jnp.sum((points - jax.lax.stop_gradient(moved)) ** 2, axis=1))

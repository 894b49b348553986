"""`kalman_filter`: the ensemble Kalman filter."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._custom_types import PRNGKey, Scalar
from ..measures import Particles
from ..systems.consensus._analysis import square_root_analysis, stochastic_analysis
from ..systems.consensus._ensemble import covariance_matrix


class FilterResult(NamedTuple):
    """What `kalman_filter` returns: forecast and analysis at every observation.

    Means have shape (T, d), covariances (T, d, d) with divisor N − 1; `final` is the last ensemble.
    """

    mean: Float[Array, "T d"]
    cov: Float[Array, "T d d"]
    forecast_mean: Float[Array, "T d"]
    forecast_cov: Float[Array, "T d d"]
    final: Particles


def kalman_filter(
    dynamics: Callable[..., Any],
    observe: Callable[[Any], Any],
    initial: Particles,
    observations: ArrayLike,
    noise_cov: ArrayLike,
    *,
    key: PRNGKey,
    model_cov: ArrayLike | None = None,
    form: str = "stochastic",
    inflation: Scalar = 1.0,
    localization: tuple[ArrayLike, ArrayLike] | None = None,
    rotate: bool = False,
) -> FilterResult:
    r"""The ensemble Kalman filter of x⁺ = M(x) + N(0, Q), y = h(x) + N(0, R).

    Each observation is preceded by one forecast. For M and h linear, mean and covariance tend to
    those of the Kalman filter at N^{−1/2}; the square root form takes every analysis exactly, given
    the forecast's ensemble moments.

    **Arguments:**

    - `dynamics`: M, a function of one point (d,) over the time between two observations.
    - `observe`: h, a function of one point to m numbers.
    - `initial`: the ensemble, `Particles` of shape (N, d).
    - `observations`: shape (T, m).
    - `noise_cov`: R, shape (m, m); or m variances; or one.
    - `key`: a JAX key.
    - `model_cov`: Q, likewise; `None` is a perfect model.
    - `form`: "stochastic" (perturbed observations) or "square_root" (symmetric transform).
    - `inflation`: factor of the forecast's deviations from their mean before the analysis.
    - `localization`: tapers `(ρ_xy, ρ_yy)` of shapes (d, m) and (m, m) in [0, 1], for instance
      `gaspari_cohn` of distances. The square root form uses the first, row by row, on R⁻¹ (local
      analyses), and then needs uncorrelated noise.
    - `rotate`: whether the square root form turns the deviations by a random mean-preserving
      rotation, without which long runs of nonlinear models can degenerate.
    """
    if form not in ("stochastic", "square_root"):
        raise ValueError(f'`form` is {form!r}; it is "stochastic" or "square_root".')
    observations = jnp.asarray(observations)
    if localization is not None:
        localization = (jnp.asarray(localization[0]), jnp.asarray(localization[1]))
    if observations.ndim != 2:
        raise ValueError(f"`observations` has shape {observations.shape}; give (times, numbers).")
    noise_cov = covariance_matrix(noise_cov, observations.shape[1], "noise_cov")
    if model_cov is not None:
        model_cov = covariance_matrix(model_cov, initial.x.shape[1], "model_cov")
    return _filter(
        dynamics, observe, initial, observations, noise_cov, key, model_cov, form, inflation,
        localization, rotate,
    )  # fmt: skip


@eqx.filter_jit
def _filter(
    dynamics, observe, initial, observations, noise_cov, key, model_cov, form, inflation,
    localization, rotate,
):  # fmt: skip
    def advance(x, inputs):
        k, y = inputs
        drawn, perturbed, turned = jax.random.split(jax.random.fold_in(key, k), 3)
        x = jax.vmap(dynamics)(x)
        if model_cov is not None:
            z = jax.random.normal(drawn, x.shape, x.dtype)
            x = x + z @ jnp.linalg.cholesky(model_cov).T
        mean = jnp.mean(x, axis=0)
        x = mean + inflation * (x - mean)
        forecast = mean, jnp.atleast_2d(jnp.cov(x.T))
        images = jax.vmap(lambda a: jnp.ravel(observe(a)))(x)
        if form == "stochastic":
            x = stochastic_analysis(x, images, y, noise_cov, perturbed, localization)
        else:
            taper = None if localization is None else localization[0]
            x = square_root_analysis(x, images, y, noise_cov, taper, turned if rotate else None)
        return x, (jnp.mean(x, axis=0), jnp.atleast_2d(jnp.cov(x.T)), *forecast)

    steps = jnp.arange(observations.shape[0])
    x, moments = jax.lax.scan(advance, initial.x, (steps, observations))
    return FilterResult(*moments, Particles(x, initial.log_w, initial.space, initial.block))

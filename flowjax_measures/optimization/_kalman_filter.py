"""`kalman_filter`: the ensemble Kalman filter, its smoother, and its limit of many members."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._custom_types import PRNGKey, Scalar
from .._numerics import checked, jitted
from .._numerics._checks import check_key
from ..measures import AbstractMeasure, GridDensity, Particles
from ..measures._base import concrete, replace
from ..systems.consensus._analysis import square_root_analysis, stochastic_analysis
from ._filter_input import Observed, check_initial, observed, positive, present, spans
from ._mean_field_filter import analysis, forecast

_FORMS = ("stochastic", "square_root", "exact")


class FilterResult(NamedTuple):
    """What `kalman_filter` returns: forecast and analysis at every observation.

    Means have shape (T, d), covariances (T, d, d) with divisor N − 1 (1 − Σw² of weights); `final`
    is the last ensemble or law. `smoothed_mean`, `smoothed_cov` know all observations, and are
    there where `smoother` asked for them. `inflation` is the factor that each forecast was given.

    !!! example

        ```python
        fm.kalman_filter(
            lambda x: 0.9 * x, lambda x: x, mu, jnp.zeros((3, 2)), jnp.eye(2), key=key
        ).mean
        ```
    """

    mean: Float[Array, "T d"]
    cov: Float[Array, "T d d"]
    forecast_mean: Float[Array, "T d"]
    forecast_cov: Float[Array, "T d d"]
    final: Any
    smoothed_mean: Float[Array, "T d"] | None = None
    smoothed_cov: Float[Array, "T d d"] | None = None
    inflation: Float[Array, " T"] | None = None


@checked
def kalman_filter(
    dynamics: Callable[..., Any],
    observe: Callable[[Any], Any],
    initial: AbstractMeasure | Any,
    observations: ArrayLike | Any,
    noise_cov: ArrayLike | Any,
    *,
    key: PRNGKey | None = None,
    times: ArrayLike | Any = None,
    model_cov: ArrayLike | Any = None,
    form: str = "stochastic",
    inflation: Scalar | str | Any = 1.0,
    localization: Any = None,
    rotate: bool = False,
    smoother: bool = False,
) -> FilterResult:
    r"""The ensemble Kalman filter of x⁺ = M(x) + N(0, Q), y = h(x) + N(0, R).

    Each observation is preceded by one forecast. For M and h linear, mean and covariance tend to
    those of the Kalman filter at N^{−1/2}; the square root form takes every analysis exactly, given
    the forecast's ensemble moments.

    **Arguments:**

    - `dynamics`: M, a function of one point (d,) over the time between two observations; with
      `times` a function of the point and both times, M(x, t₀, t₁).
    - `observe`: h, a function of one point to m numbers.
    - `initial`: the ensemble, `Particles` of shape (N, d), whose weights count. From a `Gaussian`
      the filter of infinitely many members, projected onto Gaussians, which is Kalman's own for
      affine M and h; from a `GridDensity` the mean-field filter itself.
    - `observations`: shape (T, m). NaN, or what a NumPy masked array masks, is missing: the others
      of its time still count.
    - `noise_cov`: R, shape (m, m); or m variances; or one.
    - `key`: a JAX key, for ensembles.
    - `times`: that of `initial`, then those of the observations, T + 1 in all; of any spacing.
    - `model_cov`: Q, likewise; with `times` that of a unit of time; `None` is a perfect model.
    - `form`: "stochastic" (perturbed observations) or "square_root" (symmetric transform); from a
      grid "exact" is the true filter, by Bayes' rule.
    - `inflation`: factor of the forecast's deviations from their mean before the analysis;
      "adaptive" estimates it from how far the observations fall ([miyoshi2011]).
    - `localization`: tapers `(ρ_xy, ρ_yy)` of shapes (d, m) and (m, m) in [0, 1], for instance
      `gaspari_cohn` of distances. The square root form uses the first, row by row, on R⁻¹ (local
      analyses), and then needs uncorrelated noise. "thresholded" sets small covariances to 0, by
      `thresholded_covariance`, in the stochastic form.
    - `rotate`: whether the square root form turns the deviations by a random mean-preserving
      rotation, without which long runs of nonlinear models can degenerate.
    - `smoother`: whether every analysis updates the ensembles of the past too, in O(T²) time.

    **Raises:** `ValueError` that names the argument which cannot be meant.

    !!! example

        `fm.kalman_filter(M, lambda x: x[:1], fm.Particles(x), data, 0.1, key=jr.key(0))`
    """
    check_initial(initial)
    seen = observed(observations)
    count, m = seen.values.shape
    point = initial.atoms()[0][0]
    noise_cov = positive(noise_cov, m, "noise_cov", True)
    if model_cov is not None:
        model_cov = positive(model_cov, point.size, "model_cov", False)
    gaps = spans(times, count)
    _check_model(dynamics, observe, point, m, gaps)
    if form not in _FORMS or (form == "exact" and not isinstance(initial, GridDensity)):
        raise ValueError(
            f'`form` is {form!r}; it is "stochastic" or "square_root", or "exact" from a '
            "GridDensity."
        )
    if not isinstance(initial, Particles):
        _check_law(inflation, localization, rotate, smoother)
        return _law(dynamics, observe, initial, seen, noise_cov, model_cov, gaps, form)
    if key is None:
        raise ValueError("`key` is missing: give key=jax.random.key(0).")
    check_key(key)
    adaptive = isinstance(inflation, str)
    if (adaptive and inflation != "adaptive") or (
        not adaptive and concrete(inflation) and not 0 < float(inflation) < np.inf
    ):
        raise ValueError(f'`inflation` is {inflation!r}; give a factor > 0 or "adaptive".')
    if isinstance(localization, str):
        if localization != "thresholded" or form != "stochastic" or initial.log_w is not None:
            raise ValueError(
                f"`localization` is {localization!r}; give tapers or, for the stochastic form "
                'without weights, "thresholded".'
            )
    elif localization is not None:
        localization = _tapers(localization, point.size, m)
    if rotate and initial.log_w is not None:
        raise ValueError("`rotate` mixes members, which have weights here; leave out one of both.")
    factor = jnp.asarray(1.0 if adaptive else inflation, initial.x.dtype)
    return _ensemble(
        dynamics, observe, initial, seen, noise_cov, key, model_cov, gaps, form, factor, adaptive,
        localization, rotate, smoother,
    )  # fmt: skip


@jitted
def _ensemble(
    dynamics, observe, initial, seen: Observed, noise_cov, key, model_cov, gaps, form, factor,
    adaptive, localization, rotate, smoother,
):  # fmt: skip
    count, (n, d) = seen.values.shape[0], initial.x.shape
    weights = None if initial.log_w is None else jax.nn.softmax(initial.log_w)

    def moments(x):
        w = jnp.full(n, 1 / n, x.dtype) if weights is None else weights
        mean = w @ x
        return mean, ((x - mean).T * w) @ (x - mean) / (1 - jnp.sum(w**2))

    def advance(carry, inputs):
        x, past, factor = carry
        k, y, there, gap = inputs
        drawn, perturbed, turned = jax.random.split(jax.random.fold_in(key, k), 3)
        x = _moved(dynamics, x, gap)
        if model_cov is not None:
            z = jax.random.normal(drawn, x.shape, x.dtype)
            x = x + z @ _root(model_cov, gap).T
        sees = lambda x: present(  # noqa: E731
            there, jax.vmap(lambda a: jnp.ravel(observe(a)))(x), noise_cov
        )
        if adaptive:
            images, noise = sees(x)
            factor = _adapted(factor, *moments(images), y, noise, there)
        mean = moments(x)[0]
        x = mean + factor * (x - mean)
        before = moments(x)
        images, noise = sees(x)
        # The past is part of the state, which every analysis moves.
        whole = x if past is None else jnp.concatenate([x, past.reshape(n, -1)], axis=1)
        local = localization
        if past is not None and isinstance(local, tuple):
            local = jnp.tile(local[0], (count + 1, 1)), local[1]
        if form == "stochastic":
            whole = stochastic_analysis(whole, images, y, noise, perturbed, local, weights)
        else:
            taper = None if local is None else local[0]
            turn = turned if rotate else None
            whole = square_root_analysis(whole, images, y, noise, taper, turn, weights)
        x = whole[:, :d]
        if past is not None:
            past = whole[:, d:].reshape(n, count, d).at[:, k].set(x)
        return (x, past, factor), (*moments(x), *before, factor)

    past = jnp.zeros((n, count, d), initial.x.dtype) if smoother else None
    inputs = (jnp.arange(count), seen.values, seen.there, gaps)
    (x, past, _), outputs = jax.lax.scan(advance, (initial.x, past, factor), inputs)
    later = (None, None) if past is None else jax.vmap(moments, 1)(past)
    return FilterResult(*outputs[:4], replace(initial, x=x), *later, outputs[4])


def _adapted(factor, mean, cov, y, noise, there):
    """The inflation after an innovation, whose square on average is tr R⁻¹(λ² HCHᵀ + R).

    λ² is estimated with a prior of standard deviation 0.2 around the last one.
    """
    gap = jnp.where(there, y - mean, 0)
    count = jnp.sum(there).astype(gap.dtype)
    trace = jnp.trace(jnp.linalg.solve(noise, cov))
    safe = jnp.where(trace > 0, trace, 1)
    wanted = (gap @ jnp.linalg.solve(noise, gap) - count) / safe
    square = factor**2
    count = jnp.maximum(count, 1)
    doubt = 2 / count * ((square * trace + count) / safe) ** 2
    share = jnp.where(trace > 0, 0.2**2 / (0.2**2 + doubt), 0)
    return jnp.sqrt(jnp.clip(square + share * (wanted - square), 0.81, 4.0)).astype(factor.dtype)


@jitted
def _law(dynamics, observe, initial, seen: Observed, noise_cov, model_cov, gaps, form):
    def advance(mu, inputs):
        y, there, gap = inputs
        step = dynamics if gap is None else lambda x: dynamics(x, gap[0], gap[1])
        q = model_cov if model_cov is None or gap is None else model_cov * (gap[1] - gap[0])
        mu = forecast(mu, step, q)
        before = mu.mean(), mu.covariance()
        _, noise = present(there, jnp.zeros((1, there.size), y.dtype), noise_cov)
        mu = analysis(mu, observe, y, noise, there, form)
        return mu, (mu.mean(), mu.covariance(), *before)

    final, outputs = jax.lax.scan(advance, initial, (seen.values, seen.there, gaps))
    return FilterResult(*outputs, final)


def _moved(dynamics, x, gap):
    if gap is None:
        return jax.vmap(dynamics)(x)
    return jax.vmap(lambda a: dynamics(a, gap[0], gap[1]))(x)


def _root(model_cov, gap):
    """A square root of Q, which may be singular."""
    values, vectors = jnp.linalg.eigh(model_cov)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0))
    return root if gap is None else root * jnp.sqrt(gap[1] - gap[0])


def _check_model(dynamics, observe, point, m, gaps):
    after = jax.eval_shape(dynamics, point, *(() if gaps is None else gaps[0]))
    if jnp.shape(after) != point.shape:
        raise ValueError(
            f"`dynamics` returned shape {jnp.shape(after)} for a point of shape {point.shape}; "
            "give M of one point."
        )
    size = sum(int(np.prod(a.shape)) for a in jax.tree.leaves(jax.eval_shape(observe, point)))
    if size != m:
        raise ValueError(
            f"`observe` returns {size} numbers, `observations` have {m} at a time; give as many."
        )


def _tapers(localization, d: int, m: int):
    tapers = jnp.asarray(localization[0]), jnp.asarray(localization[1])
    if tapers[0].shape != (d, m) or tapers[1].shape != (m, m):
        raise ValueError(
            f"`localization` has shapes {tapers[0].shape} and {tapers[1].shape}; give tapers of "
            f"{(d, m)} and {(m, m)}."
        )
    return tapers


def _check_law(inflation, localization, rotate, smoother):
    given = {
        "inflation": isinstance(inflation, str) or inflation != 1.0,
        "localization": localization is not None, "rotate": rotate, "smoother": smoother,
    }  # fmt: skip
    for name, is_given in given.items():
        if is_given:
            raise ValueError(f"`{name}` is for ensembles; laws have no sampling error: leave it.")

r"""Barycentres and medians of measures ([agueh2011], [alvarez2016]).

    barycentre   argmin_μ Σ_k λ_k W₂²(μ, ν_k)        median   argmin_μ Σ_k λ_k W₂(μ, ν_k)

Both are the fixed point of one step: every point goes to the mean of where the optimal maps to the
ν_k send it; for the median with the shares λ_k/W₂(μ, ν_k) in place of λ_k (Weiszfeld's method).
Where μ is one of the ν_k it stays if the others pull with less than λ_k, and leaves if with more
([vardi2000]). Anderson mixing of the steps takes fewer of them.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._custom_types import Count, FloatScalar
from .._numerics import checked, jitted, safe_sqrt
from .._numerics._anderson import Anderson
from .._numerics._implicit import implicit
from .._numerics._matrix import square_root
from ..energies._bures import _singular
from ..energies._ground import check_flat
from ..measures import AbstractMeasure, Gaussian, Particles
from ..measures._base import concrete, replace
from ..spaces._bures import bures_square
from ._exact import wasserstein
from ._maps import barycentric_map
from ._masses import comparable

# Steps that are mixed, and the share of the smallest variance that a mixture must keep.
_MEMORY, _LEAST = 5, 0.1
# Below how many roots of ε, relative to the measures' size, a median has met one of them.
_MET = 4


@checked
def barycenter(
    measures: Sequence[AbstractMeasure],
    weights: ArrayLike | Sequence[float] | None = None,
    *,
    start: AbstractMeasure | None = None,
    iterations: Count = 500,
    tol: float | None = None,
) -> AbstractMeasure:
    r"""The Wasserstein barycentre, argmin Σ_k λ_k W₂²(·, ν_k).

    Of Gaussians it is a Gaussian, the one solution of Σ = Σ_k λ_k (Σ^{1/2} Σ_k Σ^{1/2})^{1/2}. Of
    other measures it is sought among particles with the number and the masses of `start`, a
    stationary point of the energy; for particles of any masses on the line with as many points it
    is the mean of quantile functions.

    **Arguments:** `measures`: all Gaussians, or measures with atoms in flat space. `weights`: λ_k,
    divided by their sum; equal by default. `start`: where to begin; needed but for Gaussians.
    `iterations`: at most. `tol`: the movement, relative to the spread, at which it ends; 100 ε of
    the floats by default.

    **Raises:** `ValueError` for measures that don't belong together; `RuntimeError` where it has
    not converged (NaN in compiled code).

    !!! example

        `fm.barycenter([fm.Gaussian(m, a), fm.Gaussian(n, b)], weights=[0.3, 0.7])`
    """
    return _fixed_point(measures, weights, start, iterations, tol, median=False)


@checked
def median(
    measures: Sequence[AbstractMeasure],
    weights: ArrayLike | Sequence[float] | None = None,
    *,
    start: AbstractMeasure | None = None,
    iterations: Count = 5000,
    tol: float | None = None,
) -> AbstractMeasure:
    r"""The Wasserstein median, argmin Σ_k λ_k W₂(·, ν_k); robust against a few odd measures.

    **Arguments, raises:** as `barycenter`. `start` may be one of the measures.

    !!! example

        `fm.median([nu_1, nu_2, outlier], start=nu_1)`
    """
    return _fixed_point(measures, weights, start, iterations, tol, median=True)


def _fixed_point(measures, weights, start, iterations, tol, median):
    measures = list(measures)
    if not measures:
        raise ValueError("`measures` is empty; give at least one.")
    for nu in measures[1:]:
        comparable(measures[0], nu, "Two of the `measures`")
    check_flat("barycenter", *measures)
    gaussian = all(isinstance(m, Gaussian) for m in measures)
    shares = _shares(weights, len(measures), measures[0].atoms()[1].dtype)
    tol = 100 * float(jnp.finfo(shares.dtype).eps) if tol is None else tol
    if gaussian:
        if start is None:
            start = _average(measures, shares)
        mean, cov, moved = _gaussians(measures, shares, start, iterations, tol, median)
        _check(moved, tol, iterations)
        return Gaussian(mean, cov)
    if not isinstance(start, Particles):
        raise ValueError(
            "`start` is needed: particles whose number and masses the barycentre has, for example "
            "Particles(measures[0].sample(key, 100))."
        )
    comparable(start, measures[0], "`start` and `measures`")
    if concrete(measures, start, shares):
        return _walked(measures, start, shares, iterations, tol, median)
    return replace(start, x=_sought(measures, start, shares, iterations, tol, median))


def _walked(measures, start, shares, iterations, tol, median):
    """Plans are found on the host, as long as the measure moves."""
    memory = _memory(start, median)
    mu, moved, trial = start, jnp.inf, start.x
    for _ in range(iterations):
        x, moved = _move(replace(mu, x=trial), measures, shares, median)
        mu = replace(mu, x=x)
        if not float(moved) > tol:
            break
        memory, mixed = _mixed(memory, trial.ravel(), x.ravel())
        trial = mixed.reshape(x.shape)
    _check(moved, tol, iterations)
    return mu


def _sought(measures, start, shares, iterations, tol, median):
    """In one program, with the derivative of a fixed point; plans count as fixed in it."""

    def image(x, given):
        measures, shares = given
        return _move(replace(start, x=x.reshape(start.x.shape)), measures, shares, median)

    given = measures, shares
    fixed = jax.lax.stop_gradient(given)

    def step(carry):
        count, _, trial, memory, _ = carry
        x, moved = image(trial, fixed)
        memory, mixed = memory.mixed(trial, x.ravel())
        return count + 1, x.ravel(), mixed, memory, moved

    first = jax.lax.stop_gradient(start.x.ravel())
    begin = (0, first, first, _memory(start, median), jnp.full((), jnp.inf, first.dtype))
    further = lambda carry: (carry[0] < iterations) & (carry[4] > tol)  # noqa: E731
    _, x, _, _, moved = jax.lax.while_loop(further, step, begin)
    x = implicit(lambda x, given: image(x, given)[0].ravel(), x, given)
    return jnp.where(moved <= tol, x, jnp.nan).reshape(start.x.shape)


def _memory(start: Particles, median: bool) -> Anderson:
    # Plans that have settled send points where they belong at once; only medians creep.
    return Anderson.empty(start.x.ravel(), _MEMORY if median else 0)


@jitted
def _mixed(memory: Anderson, x, image):
    return memory.mixed(x, image)


def _check(moved, tol: float, iterations: int) -> None:
    if concrete(moved) and not float(moved) <= tol:
        raise RuntimeError(
            f"After {iterations} `iterations` the measure still moves by {float(moved):.3g} of its "
            f"spread in a step; give more of them, or a larger `tol` than {tol:.3g}."
        )


def _shares(weights: ArrayLike | Sequence[float] | None, count: int, dtype) -> Float[Array, " k"]:
    shares = jnp.ones(count, dtype) if weights is None else jnp.asarray(weights, dtype)
    bad = concrete(shares) and not (np.all(np.asarray(shares) >= 0) and np.any(shares))
    if shares.shape != (count,) or bad:
        raise ValueError(
            f"`weights` is {weights}; give a number ≥ 0 for each of the {count} measures, and one "
            "that isn't 0."
        )
    return shares / jnp.sum(shares)


def _average(measures, shares) -> Gaussian:
    mean = shares @ jnp.stack([m.m for m in measures])
    cov = jnp.tensordot(shares, jnp.stack([m.cov for m in measures]), axes=1)
    return Gaussian(mean, (cov + cov.T) / 2)


@jitted
def _gaussians(measures, shares, start, iterations, tol, median):
    given = *(jnp.stack([getattr(m, name) for m in measures]) for name in ("m", "cov")), shares
    size, shape = start.m.size, start.cov.shape

    def image(x, given):
        means, covs, shares = given
        mean, cov = x[:size], x[size:].reshape(shape)
        root = square_root(cov)
        # T Σ T for the mean T of the maps, Σ^{−1/2} Σ_k λ_k (Σ^{1/2} Σ_k Σ^{1/2})^{1/2} Σ^{−1/2}.
        middles = jax.vmap(lambda c: square_root(root @ c @ root))(covs)
        halves = jax.vmap(lambda middle: jnp.linalg.solve(root, middle))(middles)
        if median:
            near = replace(start, m=mean, cov=cov)
            other = jax.vmap(lambda m, c: bures_square(near, replace(start, m=m, cov=c)))
            gaps = safe_sqrt(other(means, covs))
            moves = jnp.concatenate([halves - root, (means - mean)[:, None]], axis=1)
            spread = jnp.trace(cov) + jnp.max(jnp.sum((means - mean) ** 2, axis=1))
            shares = _pulls(shares, gaps, jnp.sqrt(spread), moves)
        half = jnp.tensordot(shares, halves, axes=1)
        new = half @ half.T
        return jnp.concatenate([shares @ means, ((new + new.T) / 2).ravel()])

    fixed = means, covs, _ = jax.lax.stop_gradient(given)

    def step(carry):
        count, _, x, memory, _ = carry
        new = image(x, fixed)
        spread = jnp.trace(x[size:].reshape(shape)) + jnp.sum((means - new[:size]) ** 2)
        moved = jnp.linalg.norm((new - x)[size:])
        moved = moved + jnp.sum(jnp.abs((new - x)[:size])) * jnp.sqrt(spread)
        memory, mixed = memory.mixed(x, new)
        # Where a mixture is no covariance, the step itself is.
        least = jnp.linalg.eigvalsh(jnp.stack([a[size:].reshape(shape) for a in (mixed, new)]))
        trial = jnp.where(least[0, 0] > _LEAST * least[1, 0], mixed, new)
        return count + 1, new, trial, memory, moved / spread

    def further(carry):
        return (carry[0] < iterations) & (carry[4] > tol)

    first = jax.lax.stop_gradient(jnp.concatenate([start.m, start.cov.ravel()]))
    far = jnp.full((), jnp.inf, shares.dtype)
    begin = (0, first, first, Anderson.empty(first, _MEMORY), far)
    _, x, _, _, moved = jax.lax.while_loop(further, step, begin)
    # Measures that are all one point have no map, and need none.
    flat = jnp.all(covs == 0)
    solved = (moved <= tol) & ~_singular(start.cov)
    x = jnp.where(solved, implicit(image, x, given), jnp.nan)
    mean, cov = jnp.where(flat, shares @ given[0], x[:size]), x[size:].reshape(shape)
    return mean, jnp.where(flat, 0, cov), jnp.where(flat, 0, moved)


def _move(mu: Particles, measures, shares, median: bool) -> tuple[Array, FloatScalar]:
    targets = jnp.stack([barycentric_map(mu, nu) for nu in measures])
    if median:
        gaps = jnp.stack([jnp.asarray(wasserstein(mu, nu)) for nu in measures])
        root = jnp.sqrt(jax.nn.softmax(mu.log_weights()))[:, None]
        moves = (targets.reshape(len(measures), *mu.x.shape) - mu.x) * root
        size = jnp.linalg.norm((mu.x - root[:, 0] ** 2 @ mu.x) * root)
        shares = _pulls(shares, gaps, jnp.maximum(size, jnp.max(gaps)), moves)
    x = jnp.tensordot(shares, targets, axes=1).reshape(mu.x.shape)
    spread = jnp.sqrt(jnp.mean((x - jnp.mean(x, axis=0)) ** 2)) + jnp.finfo(x.dtype).tiny
    return x, jnp.max(jnp.abs(x - mu.x)) / spread


def _pulls(shares, gaps, size, moves):
    """The shares of a step of the median; `moves`: T_k − 1, in vectors of the length of L²(μ)."""
    # The square of `tiny` is not 0: quotients by it have derivatives.
    eps, tiny = jnp.finfo(shares.dtype).eps, jnp.finfo(shares.dtype).tiny ** 0.25
    met = gaps <= _MET * jnp.sqrt(eps) * size
    pull = jnp.where(met, 0, shares / jnp.where(met, 1, gaps))
    total = safe_sqrt(jnp.sum(jnp.tensordot(pull, moves, axes=1) ** 2))
    held = jnp.where(met, shares, 0)
    weight = jnp.sum(held)
    stays = jnp.minimum(1, weight / jnp.maximum(total, tiny))
    pull = (1 - stays) * pull / jnp.maximum(jnp.sum(pull), tiny)
    return pull + stays * held / jnp.maximum(weight, tiny)

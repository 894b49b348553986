r"""Consensus-based optimisation ([pinnau2017], [carrillo2021]).

    dX = −λ (X − c(μ)) dt + σ |X − c(μ)| dW            (isotropic)
    dX = −λ (X − c(μ)) dt + σ diag(X − c(μ)) dW        (anisotropic)
    dX = −λ (X − c(μ)) dt + σ √C(μ) dW                 (covariance)
    dX = −λ (X − c(μ)) dt + σ dW                       (additive)

    c(μ) = ⟨x⟩_{−αf},   C(μ) = ⟨(x − c)(x − c)ᵀ⟩_{−αf}

Points drift to the weighted mean of all, and explore in proportion to their distance from it. Itô.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point, Scalar
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Gaussian, Rates
from ...noise._noise import floating
from ._effective_sample_size import EffectiveSampleSize
from ._exploration import check_exploration, exploration, heaviside
from ._weights import Schedule, at, energy_logits, normalised, strength, weighted_mean


class ConsensusBased(AbstractMeanField):
    r"""Consensus-based optimisation of `objective`.

    With α = 0 the spread V = E|X − EX|² obeys V̇ = (−2λ + Dσ²)V, with D = d for isotropic and D = 1
    for anisotropic and covariance noise; N particles and Euler steps h give exactly
    E V⁺ = V((1 − λh)² + Dσ²h(1 − 1/N)). Around a fixed consensus, log|X − c|² of isotropic noise
    moves at the almost sure rate −2λ + (d − 2)σ². Additive noise never reaches consensus: its
    spread tends to dσ²/(2λ).

    `simulate` with `dt` takes the standard discrete step, X⁺ = X − λh(X − c) + σ√h (…)ξ, a part of
    the algorithm. A shorter step is another optimiser, mostly a better one.

    **Arguments:**

    - `objective`: function f of one point, to be minimised. NaN and +∞ mark forbidden points.
    - `drift_rate`: λ > 0, or a function of time.
    - `sigma`: strength of exploration σ, or a function of time. Isotropic noise contracts in mean
      square when 2λ > dσ², anisotropic and covariance noise when 2λ > σ², in any dimension: take
      one of them beyond a few dimensions. With the number 0 a run needs no key.
    - `alpha`: α ≥ 0, a function of time, or `EffectiveSampleSize(fraction)`. The consensus tends
      to the best point as α grows, and is the best point for α = ∞.
    - `noise`: "isotropic", "anisotropic", "covariance" or "additive". `truncation`: M, above which
      |X − c|, or each |X_k − c_k|, counts as M in it ([fornasier2024]); `None` is ∞.
    - `correction`: function of f(X) − f(c) that multiplies the drift, "heaviside" for the step
      function of [pinnau2017], which moves only points worse than the consensus. `None` is 1.
    - `gradient`: "pathwise" differentiates all; "weights_stopped" holds the weights e^{−αf} fixed
      (particles and grids only), which is biased and of far smaller spread on rugged objectives.

    !!! example

        `fm.simulate(fm.ConsensusBased(f, sigma=0.7, alpha=30.0), mu, [0.0, 1.0], dt=0.1, key=key)`
    """

    objective: Callable[[Point], FloatScalar]
    drift_rate: Schedule = 1.0
    sigma: Schedule = 0.7
    alpha: Schedule | EffectiveSampleSize = 30.0
    noise: str = eqx.field(static=True, default="isotropic")
    truncation: Scalar | None = None
    correction: Callable[[FloatScalar], FloatScalar] | str | None = None
    gradient: str = eqx.field(static=True, default="pathwise")

    def __check_init__(self):
        check_exploration(self.noise, self.truncation)
        if isinstance(self.correction, str) and self.correction != "heaviside":
            wanted = 'it is "heaviside", a function, or None.'
            raise ValueError(f"`correction` is {self.correction!r}; {wanted}")
        if self.gradient not in ("pathwise", "weights_stopped"):
            wanted = 'it is "pathwise" or "weights_stopped".'
            raise ValueError(f"`gradient` is {self.gradient!r}; {wanted}")

    def consensus(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Point:
        """The consensus point c(μ), of the float leaves of a point."""
        return weighted_mean(mu, floating, self._logits(mu, t))

    def spread(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Float[Array, "d d"]:
        """The weighted covariance C(μ), of the ravelled float leaves of a point."""
        centre = ravel_pytree(self.consensus(mu, t))[0]

        def outer(y):
            away = ravel_pytree(floating(y))[0] - centre
            return jnp.outer(away, away)

        return weighted_mean(mu, outer, self._logits(mu, t))

    def weights(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Float[Array, " n"]:
        """The normalised weights e^{−αf} dμ of the atoms of `mu`."""
        return normalised(mu, self._logits(mu, t))

    def rates(self, t, x, mu):
        centre = self.consensus(mu, t)
        away = jax.tree.map(jnp.subtract, floating(x), centre)
        pull = at(self.drift_rate, t)
        if self.correction is not None:
            worse = self.objective(x) - self.objective(centre)
            step = heaviside if isinstance(self.correction, str) else self.correction
            pull = pull * step(worse)
        spread, sigma = (lambda: self.spread(mu, t)), at(self.sigma, t)
        noise = exploration(self.noise, sigma, away, spread, self.truncation)
        return Rates(jax.tree.map(lambda z: -pull * z, away), noise)

    def _logits(self, mu, t):
        logits = energy_logits(self.objective, strength(self.alpha, t, mu, self.objective))
        if self.gradient == "pathwise":
            return logits
        if isinstance(mu, Gaussian):
            raise ValueError(
                '`gradient` is "weights_stopped", but a Gaussian is tilted by the derivatives of '
                'the weights; start from `Particles`, or use "pathwise".'
            )
        return lambda y: jax.lax.stop_gradient(logits(y))

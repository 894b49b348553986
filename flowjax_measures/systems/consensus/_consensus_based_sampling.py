r"""Consensus-based sampling ([carrillo2022]).

    dX = −(X − c(μ)) dt + √(2 κ⁻¹ C(μ)) dW,     c = ⟨x⟩_{−αf},  C = ⟨(x − c)(x − c)ᵀ⟩_{−αf},

with κ = 1/(1 + α) to sample from e^{−f} and κ = 1 to minimise f. Itô.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative, Point, PRNGKey
from ..._numerics._matrix import square_root
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Gaussian, Particles, Rates
from ...measures._base import replace
from ...noise._noise import Dense, floating
from ._consensus_based import ConsensusBased
from ._effective_sample_size import EffectiveSampleSize
from ._weights import strength


class ConsensusBasedSampling(AbstractMeanField):
    r"""Consensus-based sampling of e^{−f}, or optimisation of f.

    From a Gaussian with f quadratic both forms are exact, and N(argmin f, (∇²f)⁻¹) is the steady
    state of "sampling" for every α; other targets are met up to an error that falls as they get
    nearer to Gaussian and α larger. "optimization" contracts to the minimiser.

    `simulate` takes Euler steps of the equation above, with `solver=ExponentialSampling()` the
    exponential ones of the paper, which are those of `step`.

    **Arguments:**

    - `objective`: function f of one point.
    - `alpha`: α > 0, or `EffectiveSampleSize(fraction)`.
    - `mode`: "sampling" or "optimization".

    !!! example

        `fm.simulate(fm.ConsensusBasedSampling(f), mu, [0.0, 1.0], dt=0.1, key=key).final`
    """

    objective: Callable[[Point], FloatScalar]
    alpha: NonNegative | EffectiveSampleSize = 1.0
    mode: str = eqx.field(static=True, default="sampling")

    def __check_init__(self):
        if self.mode not in ("sampling", "optimization"):
            raise ValueError(f'`mode` is {self.mode!r}; it is "sampling" or "optimization".')

    def moments(self, mu: AbstractMeasure) -> tuple[Point, Float[Array, "d d"]]:
        """The weighted mean c(μ) and κ⁻¹ C(μ), the covariance of what is sampled."""
        weighted = self._weighted(mu)
        alpha: Any = weighted.alpha
        inflation = 1 + alpha if self.mode == "sampling" else 1.0
        return weighted.consensus(mu), inflation * weighted.spread(mu)

    def weights(self, mu: AbstractMeasure) -> Float[Array, " n"]:
        """The normalised weights e^{−αf} dμ of the atoms of `mu`."""
        return self._weighted(mu).weights(mu)

    def consensus(self, mu: AbstractMeasure) -> Point:
        """c(μ), the mean under these weights."""
        return self._weighted(mu).consensus(mu)

    def _weighted(self, mu: AbstractMeasure) -> ConsensusBased:
        return ConsensusBased(self.objective, alpha=strength(self.alpha, 0.0, mu, self.objective))

    def rates(self, t, x, mu):
        centre, cov = self.moments(mu)
        velocity = jax.tree.map(jnp.subtract, centre, floating(x))
        return Rates(velocity, Dense(jnp.sqrt(2.0).astype(cov.dtype) * square_root(cov)))

    def step(self, mu: AbstractMeasure, dt: FloatScalar, key: PRNGKey | None = None):
        r"""The exponential step, of any length: with the moments frozen, the exact solution.

            X⁺ = c + a (X − c) + √((1 − a²) κ⁻¹ C) ξ,      a = e^{−dt}

        From a `Gaussian` it is the map of the moments m⁺ = a m + (1 − a) c and
        Σ⁺ = a² Σ + (1 − a²) κ⁻¹ C, and needs no key.
        """
        if not isinstance(mu, Particles):
            return self.advance(mu, dt)
        if key is None:
            raise ValueError("`key` is missing: give key=jax.random.key(0).")
        flat = ravel_pytree(jax.tree.map(lambda a: a[0], floating(mu.x)))[0]
        return self.advance(mu, dt, jax.random.normal(key, (mu.size(), flat.size), flat.dtype))

    def advance(self, mu: Any, dt: FloatScalar, normals: Float[Array, "n d"] | None = None):
        """`step` with the standard normals ξ of all particles given."""
        centre, cov = self.moments(mu)
        a = jnp.exp(-jnp.asarray(dt, cov.dtype))
        if isinstance(mu, Gaussian):
            return Gaussian(a * mu.m + (1 - a) * centre, a**2 * mu.cov + (1 - a**2) * cov)
        if not isinstance(mu, Particles) or normals is None:
            raise ValueError(f"`mu` is {type(mu)}; a step moves `Particles` or a `Gaussian`.")
        unravel = ravel_pytree(centre)[1]
        draws = normals @ (jnp.sqrt(1 - a**2) * square_root(cov)).T

        def move(x, draw):
            drawn = unravel(draw)
            place = lambda y, c, z: y if c is None else c + a * (y - c) + z  # noqa: E731
            return jax.tree.map(place, x, centre, drawn, is_leaf=lambda leaf: leaf is None)

        return replace(mu, x=jax.vmap(move)(mu.x, draws)).retract()

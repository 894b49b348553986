r"""Consensus in mirror coordinates: points Y of a dual space show X = ∇φ*(Y) ([bungert2025]).

    dY = −λ (X − c) dt + σ D(X − c) dW,     X = ∇φ*(Y),     c = ⟨∇φ*(y)⟩_{−αf(∇φ*(y))}

The mirror map keeps X in its domain: softmax in the simplex, soft thresholding among the sparse.
D is |·|, diag(·), or √C. Itô.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ..._custom_types import FloatScalar, Point, Scalar
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import floating
from ._effective_sample_size import EffectiveSampleSize
from ._exploration import check_exploration, exploration
from ._weights import Schedule, at, energy_logits, strength, weighted_mean


class MirrorConsensus(AbstractMeanField):
    r"""Consensus-based optimisation over the image of a mirror map.

    With the identity for `mirror` it is `ConsensusBased`.

    **Arguments:**

    - `objective`: function f of a primal point.
    - `mirror`: ∇φ*, from dual to primal points of the same structure.
    - `drift_rate`, `sigma`, `alpha`, `noise`, `truncation`: as of `ConsensusBased`.

    !!! example

        `fm.minimize(f, bounds=box, key=key, method="mirror").x`
    """

    objective: Callable[[Point], FloatScalar]
    mirror: Callable[[Point], Point]
    drift_rate: Schedule = 1.0
    sigma: Schedule = 0.7
    alpha: Schedule | EffectiveSampleSize = 30.0
    noise: str = eqx.field(static=True, default="isotropic")
    truncation: Scalar | None = None

    def __check_init__(self):
        check_exploration(self.noise, self.truncation)

    def _logits(self, mu, t):
        energy = lambda y: self.objective(self.mirror(y))  # noqa: E731
        return energy_logits(energy, strength(self.alpha, t, mu, energy))

    def consensus(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Point:
        """The consensus, a primal point."""
        return weighted_mean(mu, self._shown, self._logits(mu, t))

    def _shown(self, y: Point) -> Point:
        return floating(self.mirror(y))

    def rates(self, t, x, mu):
        centre = self.consensus(mu, t)
        away = jax.tree.map(jnp.subtract, self._shown(x), centre)

        def spread():
            def outer(y):
                z = ravel_pytree(jax.tree.map(jnp.subtract, self._shown(y), centre))[0]
                return jnp.outer(z, z)

            return weighted_mean(mu, outer, self._logits(mu, t))

        noise = exploration(self.noise, at(self.sigma, t), away, spread, self.truncation)
        pull = at(self.drift_rate, t)
        return Rates(jax.tree.map(lambda z: -pull * z, away), noise)

r"""Equilibrium matching: one velocity for all times ([wang2025]).

    b(x) = ∫_0^1 b_t ρ_t dt / ν(x),   ν(x) = ∫_0^1 ρ_t(x) dt,   ∇·(νb) = ρ_0 − ρ_1,

a tilted mean over the time of an interpolant's velocity b_t. Points that reach atoms of ρ_1 have
its law there. On the line, or where the support has codimension one, b may stay bounded across the
support, and points pass through: a hitting time is then no transport.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, PRNGKey
from ..._system import AbstractMeanField
from ...measures import Gaussian, Rates
from ._paths import Path
from ._stochastic_interpolant import StochasticInterpolant

# The trapezoidal rule in log(t/(1 − t)): near an atom ρ_t has a peak at 1 − t of any scale.
_LOGITS = np.arange(-26.0, 34.0, 0.2)


class EquilibriumMatching(AbstractMeanField):
    """The flow of the time-averaged velocity of an interpolant.

    Towards atoms it ends. Past a target with a density points go on, and `StoppedFlow` with
    `stopping_rate` stops them in its law.

    **Arguments:** `interpolant`: a `StochasticInterpolant`, whose `diffusion` is left out.

    !!! example

        `fm.EquilibriumMatching(fm.StochasticInterpolant(nu, mu))`
    """

    interpolant: StochasticInterpolant

    def _at_times(self, x):
        """The velocities at the nodes in time, and the logarithms of their weights ρ_t dt."""
        ts = jax.nn.sigmoid(jnp.asarray(_LOGITS, x.dtype))
        steps = jnp.asarray(-2 * np.logaddexp(_LOGITS / 2, -_LOGITS / 2) + np.log(0.2), x.dtype)
        velocities, found = jax.vmap(lambda t: self.interpolant.drift(t, x, 0.0))(ts)
        return velocities, steps + found.log_density

    def log_weight(self, x: Float[Array, " d"]) -> FloatScalar:
        """log ν(x)."""
        return jax.nn.logsumexp(self._at_times(x)[1])

    def velocity(self, t: Any, x: Float[Array, " d"] | None = None) -> Float[Array, " d"]:
        """b(x); the time, as of other flows, may be given or left out."""
        x = t if x is None else x
        velocities, log_weights = self._at_times(x)
        return jax.nn.softmax(log_weights) @ velocities

    def stopping_rate(self, t: Any, x: Float[Array, " d"] | None = None) -> FloatScalar:
        """ρ_1(x)/ν(x), for a target with a density; the time may be given or left out."""
        target = self.interpolant.target
        if not (isinstance(target, Gaussian) or isinstance(target.atoms()[0], tuple)):
            raise ValueError(
                "`target` of the interpolant has no density, and points that reach its atoms stay; "
                "give a Gaussian or a mixture, or a rate of your own."
            )
        point = t if x is None else x
        last = jnp.ones((), point.dtype)
        return jnp.exp(self.interpolant.log_density(last, point) - self.log_weight(point))

    def path(self, key: PRNGKey, n: int) -> Path:
        """`n` points of the interpolant; the mean of their velocities at x, at all times, is b."""
        return self.interpolant.path(key, n)

    def rates(self, t, x, mu):
        return Rates(self.velocity(t, x))

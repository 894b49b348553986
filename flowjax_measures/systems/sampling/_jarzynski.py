r"""Jarzynski's equality: Langevin's equation in a moving potential, with weights ([jarzynski1997]).

    dX = −∇V(t, X) dt + √(2/β) dW,   d log w = −β ∂_t V(t, X) dt

From e^{−βV(0)}/Z_0 the weighted law is e^{−βV(t)}/Z_0 at every time, however fast V moves, though
the law of X alone lags behind: the mass is Z_t/Z_0 = e^{−βΔF}. −log w/β is the work done on a
point, never less than ΔF in the mean.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point, Positive
from ..._system import AbstractMeanField
from ...kernels._base import log_mass
from ...measures import AbstractMeasure, Particles, Rates
from ...noise._noise import Isotropic


class Jarzynski(AbstractMeanField):
    """Weighted points in a moving potential, at inverse temperature β.

    From particles with weights, from a grid with its mass; a `Gaussian` has mass one and keeps the
    exact law of a quadratic. `AnnealedImportance` is the solver without a bias from its step,
    `BirthDeath` draws again where few weights are left.

    **Arguments:** `potential`: V(t, x). `beta`: β.

    !!! example

        `fm.Jarzynski(lambda t, x: (1 + t) * f(x), beta=1.0)`
    """

    potential: Callable[[FloatScalar, Point], FloatScalar]
    beta: Positive = 1.0

    def rates(self, t, x, mu):
        beta = jnp.asarray(self.beta, x.dtype)
        work = jax.grad(self.potential)(jnp.asarray(t, x.dtype), x)
        force = -jax.grad(self.potential, 1)(t, x)
        return Rates(force, Isotropic(jnp.sqrt(2 / beta)), -beta * work)

    def work(self, mu: Particles) -> Float[Array, " n"]:
        """The work done on each point, −log(w/w_0)/β, of a run that began with equal weights.

        Its mean is never below ΔF, whatever the speed; `mu.x` are the points that it was done on.
        """
        if not isinstance(mu, Particles):
            raise ValueError(f"`mu` is {type(mu).__name__}; work is done on Particles.")
        log_w = mu.log_weights()
        start = jnp.log(jnp.asarray(log_w.size, log_w.dtype))
        return -(log_w + start) / self.beta

    def free_energy(self, mu: AbstractMeasure) -> FloatScalar:
        """ΔF = −log(Z_t/Z_0)/β, by the mass of `mu`, of a run that began with mass one."""
        return -log_mass(mu) / self.beta

r"""The Föllmer process: Brownian motion with the least drift that makes its law μ at time one.

    dX = u(t, X) dt + dW, X_0 = 0,   u = ∇ log P_{1−t} f,   f = dμ/dN(0, I),   X_1 ~ μ

P is the heat semigroup ([follmer1985]). Of all drifts with this end it has the least energy,

    ½ E ∫_0^1 |u|² dt = KL(μ | N(0, I)),

and u(t, X_t) is a martingale. In law X_t = tY + √(t(1 − t)) Z with Y ~ μ: it is the Schrödinger
bridge from a point, and stochastic localisation in the time t/(1 − t) ([eldan2013]).
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._numerics._checks import check_positive, within
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import Isotropic
from ._tilts import check_target, known_step, tilt


class FollmerProcess(AbstractMeanField):
    r"""The process from 0 at time 0 to the target at time 1; points are independent.

    Steps have the exact mean and covariance given where they begin, h + h²∇u, whatever their
    length: laws are right to the second order in h, from a Gaussian target exact. Drifts towards
    atoms are unbounded at the end; points end on atoms that are farther apart than √h.

    **Arguments:** `target`: μ, a `Gaussian`, `Particles` or, part by part, a mixture of Gaussians
    `Particles((means, covariances), log_w)`.

    !!! example

        `run = fm.simulate(fm.FollmerProcess(fm.Gaussian(jnp.ones(2), 0.5 * jnp.eye(2))),
        fm.Particles(jnp.zeros((1000, 2))), [0.0, 1.0], dt=0.05, key=key)`
    """

    target: AbstractMeasure

    def __check_init__(self):
        check_target("FollmerProcess", self.target)

    def drift(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """u(t, x)."""
        return tilt(self.target, within("t", t, 0.0, 1.0), x, 1.0).mean

    def log_value(self, t: FloatScalar, x: Float[Array, " d"]) -> FloatScalar:
        """log P_{1−t} f(x), of which u is the gradient; at t = 1 that of a density, log f."""
        return tilt(self.target, within("t", t, 0.0, 1.0), x, 1.0).log_z

    def log_density(self, t: FloatScalar, x: Float[Array, " d"]) -> FloatScalar:
        """The logarithm of the density of X_t, 0 < t; at 0 there is a point and no density."""
        check_positive("t", t)
        t = jnp.asarray(t, x.dtype)
        brownian = -jnp.vdot(x, x) / t - x.size * jnp.log(2 * math.pi * t)
        return self.log_value(t, x) + brownian / 2

    def score(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The gradient of `log_density`."""
        check_positive("t", t)
        return self.drift(t, x) - x / jnp.asarray(t, x.dtype)

    def velocity(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The field u − ½ score, whose flow has the same laws without noise."""
        return self.drift(t, x) - self.score(t, x) / 2

    def rates(self, t, x, mu):
        return Rates(self.drift(t, x), Isotropic(1.0))

    def transition(self, t, x, dt, increments):
        """One step of a point, of length `dt`, by a Brownian increment over it."""
        found = tilt(self.target, t, x, 1.0)
        return known_step(x, found.mean, found.covariance, dt, increments)

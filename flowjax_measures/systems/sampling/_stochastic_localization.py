r"""Stochastic localisation: a law is tilted at random until one point is left ([eldan2013]).

    dc = a(t, c) dt + dW, c_0 = 0,   a = ∫ x dμ_{t,c},   μ_{t,c}(dx) ∝ e^{⟨c,x⟩ − t|x|²/2} μ(dx)

In law c_t = tX + W_t with X ~ μ: it is what is known of X from observations of growing length, and
μ_{t,c} what is believed of it. Every ∫ f dμ_{t,c} is a martingale; beliefs narrow by

    d E[A]/dt = −E[A²],   A the covariance of μ_{t,c}, of the order 1/t,

and a(t, c) is a sample of μ as t → ∞ ([montanari2023]).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Gaussian, GridDensity, Rates
from ...measures._base import replace
from ...noise._noise import Isotropic
from ._tilts import check_target, known_step, part, tilt


class StochasticLocalization(AbstractMeanField):
    r"""The process c of tilts; points are independent and start at 0.

    Steps have the exact mean and covariance given where they begin, h + h²A, whatever their
    length: the laws are right to the second order in h, and from a Gaussian target exact.

    **Arguments:** `target`: μ, a `Gaussian`, `Particles` or, part by part, a mixture of Gaussians
    `Particles((means, covariances), log_w)`.

    !!! example

        `law = fm.StochasticLocalization(fm.Particles(x))`
        `run = fm.simulate(law, fm.Particles(jnp.zeros((100, 2))), [0.0, 20.0], dt=0.1, key=key)`
        `samples = jax.vmap(lambda c: law.mean(20.0, c))(run.final.x)`
    """

    target: AbstractMeasure

    def __check_init__(self):
        check_target("StochasticLocalization", self.target)

    def mean(self, t: FloatScalar, c: Float[Array, " d"]) -> Float[Array, " d"]:
        """a(t, c), the mean of the tilted law."""
        return tilt(self.target, t, c).mean

    def covariance(self, t: FloatScalar, c: Float[Array, " d"]) -> Float[Array, "d d"]:
        """A(t, c), the covariance of the tilted law."""
        return tilt(self.target, t, c).covariance

    def log_normaliser(self, t: FloatScalar, c: Float[Array, " d"]) -> FloatScalar:
        """log ∫ e^{⟨c,x⟩ − t|x|²/2} dμ, of which a is the gradient and A the Hessian in c."""
        return tilt(self.target, t, c).log_z

    def tilted(self, t: FloatScalar, c: Float[Array, " d"]) -> Any:
        """μ_{t,c}, a measure of the target's kind."""
        mu, t = self.target, jnp.asarray(t, c.dtype)
        if isinstance(mu, Gaussian):
            own = part((mu.m, mu.cov), t, c)
            return replace(mu, m=own.mean, cov=own.covariance)
        points, log_w = mu.atoms()
        own = jax.vmap(lambda q: part(q, t, c))(points)
        log_w = jax.nn.log_softmax(log_w + own.log_z)
        if isinstance(mu, GridDensity):
            return replace(mu, rho=jnp.exp(log_w).reshape(mu.rho.shape) / mu.cell)
        x = (own.mean, own.covariance) if isinstance(points, tuple) else points
        return replace(mu, x=x, log_w=log_w)

    def rates(self, t, x, mu):
        return Rates(self.mean(t, x), Isotropic(1.0))

    def transition(self, t, x, dt, increments):
        """One step of a point, of length `dt`, by a Brownian increment over it."""
        found = tilt(self.target, t, x)
        return known_step(x, found.mean, found.covariance, dt, increments)

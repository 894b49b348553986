r"""Ancestral sampling: a step draws the next point given what the denoiser says ([ho2020]).

    x₁ = β₁D + √(α₁² − s²) (x − βD)/α + s ξ,   s = η (α₁/α) √(α² − (βα₁/β₁)²),   D = E[X_1 | x]

With I = αX_0 + βX_1, X_0 ~ N(0, I), this is the law of I at t₁ given that at t, were D the end of
the path (η = 1); η = 0 is the flow's `ExponentialIntegrator` of order 1 ([song2021ddim]).
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import NonNegative, PRNGKey
from ..measures import Particles
from ..systems.generative._schedules import LinearSchedule, Schedule
from ._base import AbstractScheme, clock, step_index
from ._exponential_integrator import ExponentialIntegrator, denoised, noised


class AncestralSampling(AbstractScheme):
    """Steps of a diffusion by the velocity alone, exact where the denoiser doesn't change.

    **Arguments:** `key`: of the noise. `eta`: η in [0, 1]. `schedule`: that of the velocity, with
    γ = 0 and the source N(0, I).

    !!! example

        `simulate(flow, noise, [0.0, 1.0], dt=0.01, solver=AncestralSampling(key))`
    """

    key: PRNGKey
    eta: NonNegative = 1.0
    schedule: Schedule = LinearSchedule()

    orders: ClassVar = (1, None)

    def __check_init__(self):
        if isinstance(self.eta, float) and self.eta > 1:
            raise ValueError(f"`eta` is {self.eta}; give the share of the noise, in [0, 1].")

    def init(self, terms, t0, t1, y0, args):
        if not isinstance(y0, Particles):
            raise ValueError("AncestralSampling steps Particles, which have noise of their own.")
        return ExponentialIntegrator(self.schedule, 1).init(terms, t0, t1, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        begin, end = clock(terms, t0), clock(terms, t1)
        (alpha, beta, _), (alpha_1, beta_1, _) = self.schedule(begin), self.schedule(end)
        clean = denoised(self.schedule, terms.vf(t0, y0, args), begin, y0)
        square = (beta * alpha_1 / (beta_1 * alpha)) ** 2
        fresh = self.eta * alpha_1 * jnp.sqrt(1 - square)
        old = alpha_1 / alpha * jnp.sqrt(1 - self.eta**2 + self.eta**2 * square)
        key = jax.random.fold_in(self.key, step_index(terms, t0, t1))
        y1 = noised(key, y0, old, fresh)
        y1 = jax.tree.map(lambda y, d: y + (beta_1 - old * beta).astype(d.dtype) * d, y1, clean)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

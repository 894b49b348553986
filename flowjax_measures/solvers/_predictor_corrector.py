r"""Predictor and corrector: a step of the flow, then one of Langevin's equation ([song2021]).

    x̂ = x + ∫ b dt   (Heun),   x₁ = x̂ + εh s(t₁, x̂) + √(2εh) ξ

The corrector keeps the law ρ_{t₁} and forgets errors of the predictor. ε is the diffusion of the
system; together the two are a splitting of dX = (b + εs) dt + √(2ε) dW.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ..measures import Particles
from ..measures._base import replace
from ..simulation._terms import Term
from ..systems.generative import ProbabilityFlow, StochasticInterpolant
from ._base import AbstractScheme, clock, posed, unwrapped


class PredictorCorrector(AbstractScheme):
    """Steps of a `ProbabilityFlow` or `StochasticInterpolant` with `diffusion`, of `Particles`.

    !!! example

        `simulate(ProbabilityFlow(b, s, diffusion=1.0), noise, [0.0, 1.0], dt=0.02, key=key,
        solver=PredictorCorrector())`
    """

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, mu = posed(terms, y0)
        known = isinstance(system, ProbabilityFlow | StochasticInterpolant)
        if not (known and isinstance(mu, Particles) and isinstance(unwrapped(terms), Term)):
            raise ValueError(
                "PredictorCorrector steps Particles under a ProbabilityFlow or a "
                "StochasticInterpolant that have a `diffusion`, with a `key`."
            )
        h = jnp.asarray(t1 - t0, mu.x.dtype)

        begin, end = clock(terms, t0), clock(terms, t1)

        def predict(x):
            slope = system.velocity(begin, x)
            return x + h / 2 * (slope + system.velocity(end, x + h * slope))

        x = jax.vmap(predict)(mu.x)
        # The system's own noise and drift at the end of the step; b is taken out again.
        drift, noise = terms.vf(t1, replace(y0, x=x), args)
        forced = jax.vmap(lambda x, d: d - system.velocity(end, x))(x, drift.x)
        still = jax.tree.map(jnp.zeros_like, y0)
        kick = terms.prod((still, noise), terms.contr(t0, t1))
        y1 = replace(y0, x=x + h * forced + kick.x)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

r"""Euler–Maruyama in one sweep over the examples.

    X₁ = X₀ + Σ_i ∇ℓ(X₀, z_i) (s (dB_i − mean dB) − h/n)

Drift and noise of a stochastic modified flow are both gradients weighted over the examples, so that
the sum of the weights moves a point at the cost of one gradient.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ..measures import Particles
from ..measures._base import replace
from ..systems.sgd import StochasticModifiedFlow
from ._base import AbstractScheme, clock, posed


class OneSweep(AbstractScheme):
    """Euler–Maruyama steps of a `StochasticModifiedFlow` from `Particles`, at constant steps.

    The steps are those of the default solver, to round-off. With `order=1` a step costs one
    gradient of the risk.

    !!! example

        `simulate(StochasticModifiedFlow(loss, data, h), mu, ts, dt=h, key=key, solver=OneSweep())`
    """

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        flow, _ = posed(terms, y0)
        if not isinstance(flow, StochasticModifiedFlow) or not isinstance(y0, Particles):
            raise ValueError(
                "OneSweep steps a StochasticModifiedFlow from Particles with a constant `dt`; for "
                "anything else leave out `solver`."
            )
        h, (increment,) = terms.contr(t0, t1)
        time = clock(terms, t0)
        move = jax.vmap(lambda x: flow.sweep(time, x, h, increment))(y0.x)
        y1 = replace(y0, x=jax.tree.map(jnp.add, y0.x, move))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

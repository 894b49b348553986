r"""The exponential step of consensus-based sampling ([carrillo2022]).

    X₁ = c + a (X₀ − c) + √((1 − a²) κ⁻¹ C) ξ,     a = e^{−h}

With the moments c and C frozen it is the exact solution, stable for any h; from a `Gaussian` it is
the map of the moments.
"""

from typing import ClassVar

import diffrax
import jax.numpy as jnp

from ..measures._base import replace
from ..simulation._terms import Term
from ..systems.consensus import ConsensusBasedSampling
from ._base import AbstractScheme, posed, unwrapped


class ExponentialSampling(AbstractScheme):
    """Exponential steps of `ConsensusBasedSampling`, those of its `step`, with the run's noise.

    !!! example

        `simulate(ConsensusBasedSampling(f), mu, ts, dt=0.5, key=key, solver=ExponentialSampling())`
    """

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, mu = posed(terms, y0)
        # Without a key a Gaussian's system is wrapped, to average over shared noise; it has none.
        system = getattr(system, "system", system)
        if not isinstance(system, ConsensusBasedSampling):
            raise ValueError("ExponentialSampling steps a ConsensusBasedSampling with `dt`.")
        normals = None
        if isinstance(unwrapped(terms), Term):
            _, (increment,) = terms.contr(t0, t1)
            normals = increment / abs(t1 - t0) ** 0.5
        moved = system.advance(mu, jnp.asarray(t1 - t0), normals)
        y1 = replace(y0, **{name: getattr(moved, name) for name in y0.flows})
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

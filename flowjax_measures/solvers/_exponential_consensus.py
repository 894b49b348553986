r"""The exponential step of consensus methods: the pull exactly, with the consensus as it was.

    X₁ = c + (X₀ − c) e^{−λh} + σ (…) ΔW

Stable at any step, where Euler's needs λh < 2.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ..systems.consensus._weights import at
from ._base import AbstractScheme, clock, posed


class ExponentialConsensus(AbstractScheme):
    """Exponential steps of systems with a `drift_rate`, with the run's noise; with `dt`.

    **Raises:** `ValueError` for other systems.

    !!! example

        `simulate(ConsensusBased(f), mu, ts, dt=0.5, key=key, solver=ExponentialConsensus())`
    """

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, _ = posed(terms, y0)
        system = getattr(system, "system", system)
        if not hasattr(system, "drift_rate"):
            raise ValueError(
                "`solver`: ExponentialConsensus steps systems with a `drift_rate`, such as "
                "ConsensusBased. Leave `solver` out."
            )
        h = jnp.asarray(t1 - t0)
        rate = jnp.asarray(at(system.drift_rate, clock(terms, t0)), h.dtype)
        safe = jnp.where(rate == 0, 1, rate)
        push = jnp.where(rate == 0, h, -jnp.expm1(-safe * h) / safe)
        control = terms.contr(t0, t1)
        control = (push, *control[1:]) if isinstance(control, tuple) else push
        moved = terms.vf_prod(t0, y0, args, control)
        y1 = jax.tree.map(jnp.add, y0, moved)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

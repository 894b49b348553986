r"""Consensus with jumps ([kalise2023]): now and then a particle is thrown, in proportion to its
distance from the consensus.

    dX = … + γ diag(X − c) dJ,     J a compound Poisson process of rate ρ with jumps N(0, I)

Jumps leave basins that diffusion doesn't, and vanish as consensus is reached.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import PRNGKey
from ..measures import Particles
from ..measures._base import replace
from ..noise._noise import standard_normal
from ..systems.consensus._weights import Schedule, at
from ._base import AbstractScheme, clock, posed, step_index


class ConsensusJumps(AbstractScheme):
    """Euler–Maruyama steps with jumps, of a system with a `consensus` such as `ConsensusBased`.

    With α = 0 jumps add ργ² to the growth rate of the spread: −2λ + Dσ² + ργ². The jumps of a step
    are all from where it begins: K ~ Poisson(ρh) of them are one of N(0, K I).

    **Arguments:** `rate`: ρ. `strength`: γ. Both numbers or functions of time. `key`: for the
    jumps, of the default (threefry) kind.

    !!! example

        `simulate(ConsensusBased(f), mu, ts, dt=dt, key=key, solver=ConsensusJumps(1, 0.5, other))`
    """

    rate: Schedule
    strength: Schedule
    key: PRNGKey

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, mu = posed(terms, y0)
        if not hasattr(system, "consensus") or not isinstance(y0, Particles):
            raise ValueError("ConsensusJumps steps a system with a consensus from `Particles`.")
        h = t1 - t0
        move = terms.vf_prod(t0, y0, args, terms.contr(t0, t1)).x
        step = step_index(terms, t0, t1)
        when, where = jax.random.split(jax.random.fold_in(self.key, step))
        time = clock(terms, t0)
        counts = jax.random.poisson(when, at(self.rate, time) * h, (mu.size(),))
        widths = at(self.strength, time) * jnp.sqrt(counts.astype(time.dtype))
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), y0.x)

        def thrown(x, v, c, z):
            return x + v + widths.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype) * (x - c) * z

        centre = system.consensus(mu, time)
        x1 = jax.tree.map(thrown, y0.x, move, centre, standard_normal(where, shapes))
        y1 = replace(y0, x=x1)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

r"""Consensus with jumps ([kalise2023]): now and then a particle is thrown, in proportion to its
distance from the consensus.

    dX = … + γ diag(X − c) dJ,     J a compound Poisson process of rate ρ with jumps N(0, I)

Jumps leave basins that diffusion doesn't, and vanish as consensus is reached.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import PRNGKey, Scalar
from .._noise import standard_normal
from ..measures import Particles
from ..measures._base import replace
from ._base import AbstractScheme, posed


class ConsensusJumps(AbstractScheme):
    """Euler–Maruyama steps with jumps, of a system with a `consensus` such as `ConsensusBased`.

    With α = 0 jumps add ργ² to the growth rate of the spread: −2λ + Dσ² + ργ². A step holds at
    most one jump of a particle, with probability 1 − e^{−ρh}.

    **Arguments:** `rate`: ρ. `strength`: γ. `key`: for the jumps.

    !!! example

        `simulate(ConsensusBased(f), mu, ts, dt=dt, key=key, solver=ConsensusJumps(1, 0.5, other))`
    """

    rate: Scalar
    strength: Scalar
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
        step = jnp.round(t0 / h).astype(jnp.int32)
        when, where = jax.random.split(jax.random.fold_in(self.key, step))
        jumps = jax.random.bernoulli(when, -jnp.expm1(-self.rate * h), (mu.size(),))
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), y0.x)

        def thrown(x, v, c, z):
            mask = jumps.reshape(-1, *(1,) * (x.ndim - 1))
            return x + v + jnp.where(mask, self.strength * (x - c) * z, 0)

        centre = system.consensus(mu, jnp.asarray(t0))
        x1 = jax.tree.map(thrown, y0.x, move, centre, standard_normal(where, shapes))
        y1 = replace(y0, x=x1)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

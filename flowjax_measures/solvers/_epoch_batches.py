r"""Interactions with one random batch of particles a step ([carrillo2021]).

    X₁ = X₀ + v(X₀, μ_B) h + σ(X₀, μ_B) dW,     μ_B the particles of a batch B

The particles are permuted once an epoch and the batches of the epoch are its consecutive parts, so
that each particle is in one of them: a step costs n·size pairs, or `size` energies, in place of n.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import PRNGKey
from .._system import AbstractMeanField
from ..measures import Particles
from ..measures._base import replace
from ._base import AbstractScheme, clock, move, posed, step_index


class EpochBatches(AbstractScheme):
    """Euler(–Maruyama) steps in which a batch stands for all, for every mean-field system.

    Where objectives are dear and pairs are not; `RandomBatch` lets every particle see a batch of
    its own in each step.

    **Arguments:** `size`: of a batch, a divisor of the number of particles. `key`: for the
    permutations. `moves`: "all" particles, or those of the "batch" alone.

    !!! example

        `simulate(ConsensusBased(f), mu, ts, dt=dt, key=key, solver=EpochBatches(50, other_key))`
    """

    size: int
    key: PRNGKey
    moves: str = "all"

    orders: ClassVar = (1, 0.5)

    def __check_init__(self):
        if self.moves not in ("all", "batch"):
            raise ValueError(f'`moves` is {self.moves!r}; it is "all" or "batch".')

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, mu = posed(terms, y0)
        if not isinstance(system, AbstractMeanField) or not isinstance(mu, Particles):
            raise ValueError("EpochBatches steps a mean-field system from `Particles`.")
        n = mu.size()
        if n % self.size:
            raise ValueError(f"`size` is {self.size}; give a divisor of the {n} particles.")
        step = step_index(terms, t0, t1)
        epoch, part = step // (n // self.size), step % (n // self.size)
        order = jax.random.permutation(jax.random.fold_in(self.key, epoch), n)
        chosen = jax.lax.dynamic_slice(order, (part * self.size,), (self.size,))
        log_w = None if mu.log_w is None else mu.log_w[chosen]
        batch = Particles(jax.tree.map(lambda a: a[chosen], mu.x), log_w, mu.space)
        time = clock(terms, t0)
        law = mu.lift(lambda x: system.rates(time, x, batch))
        moves = move(terms, law, t0, t1).x
        if self.moves == "batch":
            moved = jnp.zeros(n, bool).at[chosen].set(True)
            stay = lambda v: jnp.where(moved.reshape(-1, *(1,) * (v.ndim - 1)), v, 0)  # noqa: E731
            moves = jax.tree.map(stay, moves)
        y1 = replace(y0, x=jax.tree.map(jnp.add, y0.x, moves))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

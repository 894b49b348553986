r"""Jarzynski's equality in discrete time, without a bias from the step ([carbone2023], [neal2001]).

    X₁ = X₀ − h ∇V₀(X₀) + √(2h/β) ξ,   log w₁ = log w₀ + β (a₀(X₀, X₁) − a₁(X₁, X₀)),
    a_i(x, y) = V_i(x) + ½ ⟨y − x, ∇V_i(x)⟩ + ¼ h |∇V_i(x)|²,   V_i = V(t_i, ·)

The weights are the ratio of the chain's law to that of the chain run backwards: for any h the mean
mass is Z₁/Z₀ and weighted means are those of e^{−βV₁}.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from ..measures import Particles
from ..measures._base import replace
from ..simulation._terms import Term
from ..systems.sampling import Jarzynski
from ._base import AbstractScheme, clock, posed, unwrapped


class AnnealedImportance(AbstractScheme):
    """Euler–Maruyama steps of `Jarzynski` from `Particles`, with the weights that they need.

    !!! example

        `simulate(Jarzynski(V), mu, ts, dt=dt, key=key, solver=AnnealedImportance())`
    """

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, _ = posed(terms, y0)
        fine = isinstance(system, Jarzynski) and isinstance(y0, Particles)
        if not fine or not isinstance(unwrapped(terms), Term):
            raise ValueError("AnnealedImportance steps Jarzynski from Particles, with a key.")
        h = t1 - t0

        def score(t, x, y):
            value, slope = jax.value_and_grad(system.potential, 1)(t, x)
            return value + jnp.vdot(y - x, slope) / 2 + h * jnp.vdot(slope, slope) / 4

        move = terms.vf_prod(t0, y0, args, terms.contr(t0, t1))
        x0, x1 = y0.x, y0.x + move.x
        before, after = clock(terms, t0), clock(terms, t1)
        forth = jax.vmap(lambda x, y: score(before, x, y))(x0, x1)
        back = jax.vmap(lambda x, y: score(after, y, x))(x0, x1)
        y1 = replace(y0, x=x1, log_w=y0.log_w + system.beta * (forth - back))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

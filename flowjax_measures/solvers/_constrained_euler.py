r"""Euler steps that stay stable beside a stiff constraint ([carrillo2024]).

    X₁ = X₀ + (I + κ JᵀJ)⁻¹ (v h + σ dW − κ Jᵀg),     κ = h/ε,  J = ∇g(X₀)

The force −Jᵀg/ε of the constraint is taken at the end of the step, linearised in Gauss and Newton's
way: J alone, no second derivative. As κ → ∞ a step keeps g + J(X₁ − X₀) = 0.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .._system import Sum
from ..measures import Particles
from ..measures._base import replace
from ..systems.consensus import EqualityConstraint
from ._base import AbstractScheme, clock, move, posed


class ConstrainedEuler(AbstractScheme):
    """Linearly implicit Euler–Maruyama steps of `system + EqualityConstraint(g, epsilon)`.

    !!! example

        `simulate(ConsensusBased(f) + EqualityConstraint(g, 1e-6), mu, ts, dt=dt, key=key,
        solver=ConstrainedEuler())`
    """

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, mu = posed(terms, y0)
        system = getattr(system, "parts", system)
        constraint = getattr(system, "second", None)
        if not (
            isinstance(system, Sum)
            and isinstance(constraint, EqualityConstraint)
            and isinstance(y0, Particles)
        ):
            raise ValueError(
                "ConstrainedEuler steps `system + EqualityConstraint(...)`, or a "
                "RegularizedConsensus, from `Particles`."
            )
        # Without the constraint's force, which would drown the rest in its round-off.
        time = clock(terms, t0)
        law = mu.lift(lambda x: system.first.rates(time, x, mu))
        free = move(terms, law, t0, t1)
        stiffness = (t1 - t0) / constraint.epsilon

        def one(x, v):
            values, slopes = constraint.linearised(x)
            flat, unravel = ravel_pytree(v)
            small = jnp.eye(values.size, dtype=flat.dtype) + stiffness * slopes @ slopes.T
            push = stiffness * jnp.linalg.solve(small, values + slopes @ flat)
            return jax.tree.map(jnp.add, x, unravel(flat - slopes.T @ push))

        y1 = replace(y0, x=jax.vmap(one)(y0.x, free.x))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

r"""Euler's implicit method on densities that stay positive.

    ρ_{k+1} = ρ_k + h v(ρ_{k+1}) + σ(ρ_k) ΔW_k

by Newton's method, steps of which are cut where they would leave ρ > 0. Any h: for a thin film with
its entropic mobility the surface energy and ∫ 1/(2h) fall in every step, so that a positive
solution is there ([gruen2000]), where explicit steps need h ≲ δ⁴.
"""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from ..measures import GridDensity
from ..measures._base import replace
from ..simulation._terms import Term
from ._base import AbstractScheme, clock, posed, unwrapped


class PositiveImplicitEuler(AbstractScheme):
    """Steps any system from a `GridDensity`, of order 1; noise is added explicitly, Itô.

    Cells with ρ = 0 are let be by systems that let them be. A step without a positive solution,
    which noise can have, is NaN: such a run fails. Each of Newton's steps solves a dense system:
    for up to some thousand cells, in any dimension.

    **Arguments:** `max_steps`: bound on Newton's steps.

    !!! example

        `simulate(ThinFilm(), drop, ts, dt=0.01, solver=PositiveImplicitEuler())`
    """

    max_steps: int = 60

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, state = posed(terms, y0)
        if not isinstance(state, GridDensity):
            raise ValueError(
                f"PositiveImplicitEuler was given {type(state).__name__}; it steps a GridDensity."
            )
        start, h = state.rho.ravel(), jnp.asarray(t1 - t0, state.rho.dtype)
        if isinstance(unwrapped(terms), Term):
            noise = system(clock(terms, t0), state).noise
            start = start + noise.apply(terms.contr(t0, t1)[1]).rho.ravel()
        given = eqx.partition((system, state, clock(terms, t1), start, h), eqx.is_inexact_array)

        def miss(rho, arrays):
            system, state, t, start, h = eqx.combine(arrays, given[1])
            here = replace(state, rho=rho.reshape(state.rho.shape))
            return rho - start - h * system(t, here).drift.rho.ravel()

        rho = _root(miss, state.rho.ravel(), given[0], self.max_steps)
        y1 = replace(y0, rho=rho.reshape(state.rho.shape))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def _root(miss: Any, rho: Any, given: Any, max_steps: int) -> Any:
    """Where `miss` vanishes, differentiable in `given`."""
    still = jax.lax.stop_gradient(given)
    tolerance = jnp.finfo(rho.dtype).eps ** 0.6 * jnp.max(jnp.abs(rho))

    def improve(carry):
        rho, _, k = carry
        move = -jnp.linalg.solve(jax.jacfwd(miss)(rho, still), miss(rho, still))
        # No cell loses more than nine tenths of what is in it.
        share = jnp.where(move < 0, -0.9 * rho / jnp.where(move < 0, move, 1), jnp.inf)
        part = jnp.minimum(1, jnp.min(jnp.where(rho > 0, share, jnp.inf)))
        return rho + part * move, jnp.max(jnp.abs(move)), k + 1

    going = lambda carry: (carry[1] > tolerance) & (carry[2] < max_steps)  # noqa: E731
    first = jax.lax.stop_gradient(rho), jnp.asarray(jnp.inf, rho.dtype), 0
    rho, moved, _ = jax.lax.while_loop(going, improve, first)
    solved = (moved <= tolerance) & jnp.all(rho >= 0)
    # One more step has the derivative of the root.
    rho = rho - jnp.linalg.solve(jax.jacfwd(miss)(rho, still), miss(rho, given))
    return jnp.where(solved, rho, jnp.nan)

r"""The integrator of GENERIC by discrete gradients ([gonzalez1996], [oettinger2018]).

    x_1 = x_0 + h [P_S L P_S D E + P_E M P_E D S],   P_F = I − DF DFᵀ/|DF|²,
    DF = ∇F(x̄) + (F(x_1) − F(x_0) − ∇F(x̄)·Δ) Δ/|Δ|²,   Δ = x_1 − x_0,   x̄ = (x_0 + x_1)/2

with L and M at x̄. DF·Δ = F(x_1) − F(x_0), so that E is kept and S grows, whatever h. Order 2.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree

from ..systems.geometry import Generic
from ._base import AbstractScheme, posed


class DiscreteGradient(AbstractScheme):
    """Steps `Generic`, by Newton's method.

    The energy is kept to the tolerance of the equation, the entropy never falls by more. A step
    whose equation is not solved is NaN: such a run fails.

    **Arguments:** `max_steps`: bound on Newton's steps.

    !!! example

        `fm.simulate(law, state, [0.0, 1.0], dt=0.1, solver=fm.DiscreteGradient())`
    """

    max_steps: int = 50

    orders: ClassVar = (2, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, state = posed(terms, y0)
        if not isinstance(system, Generic):
            raise ValueError(f"DiscreteGradient steps `Generic`; it was given {system}.")
        start, unravel = ravel_pytree(state)
        h = jnp.asarray(t1 - t0, start.dtype)

        def residual(end, _):
            middle = unravel((start + end) / 2)
            poisson, friction = system.operators(middle)
            slope = _discrete_gradient(system.energy, unravel, start, end)
            rise = _discrete_gradient(system.entropy, unravel, start, end)
            turn = _without(rise, poisson @ _without(rise, slope))
            return end - start - h * (turn + _without(slope, friction @ _without(slope, rise)))

        guess = start + h * ravel_pytree(system(0.0, state).drift)[0]
        tolerance = float(jnp.finfo(start.dtype).eps) ** 0.7
        newton = optx.Newton(tolerance, tolerance)
        root = optx.root_find(residual, newton, guess, max_steps=self.max_steps, throw=False)
        solved = root.result == optx.RESULTS.successful
        y1 = unravel(jnp.where(solved, root.value, jnp.nan))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def _without(direction, v):
    """v less its part along a direction."""
    square = jnp.vdot(direction, direction)
    share = jnp.vdot(direction, v) / jnp.where(square > 0, square, 1)
    return v - share * direction


def _discrete_gradient(function, unravel, start, end):
    plain = lambda z: jnp.asarray(function(unravel(z)))  # noqa: E731
    move, slope = end - start, jax.grad(plain)((start + end) / 2)
    square = jnp.vdot(move, move)
    # The mean value of a shorter move is the slope, up to round-off over its length.
    far = square > jnp.finfo(start.dtype).eps ** 0.5
    miss = plain(end) - plain(start) - jnp.vdot(slope, move)
    return slope + jnp.where(far, miss / jnp.where(far, square, 1), 0) * move

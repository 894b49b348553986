r"""Accelerated flows that begin anew where they would go up again ([odonoghue2015]).

After a step in which the energy of the positions has risen, momenta are 0 and the clock of the
damping is at its start. With α = 3/t the rate is e^{−c√λ t} without knowing λ; without damping too.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._system import Averaged
from ..measures import Gaussian
from ..measures._base import replace
from ..spaces import Phase
from ..systems.flows import AcceleratedFlow
from ..systems.flows._accelerated_flow import positions
from ._base import AbstractScheme, posed


class Restart(AbstractScheme):
    """Steps of an `AcceleratedFlow` with restarts, from particles and Gaussians.

    The intervals of `ts` should be whole numbers of steps: where `dt` changes the clock is that of
    the run again.

    **Arguments:** `solver`: what steps between restarts, one without memory of past steps.

    !!! example

        `simulate(AcceleratedFlow(F, lambda t: 3 / t), mu, ts, dt=0.1, solver=Restart())`
    """

    solver: diffrax.AbstractSolver = diffrax.Heun()

    orders: ClassVar = (2, None)

    def init(self, terms, t0, t1, y0, args):
        return jnp.zeros_like(jnp.asarray(t0)), _height(terms, y0)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        began, before = solver_state
        span = t0 - began, t1 - began
        memory = self.solver.init(terms, *span, y0, args)
        if memory is not None:
            raise ValueError("`solver` of Restart keeps a memory of steps; take diffrax.Heun().")
        y1, _, _, _, result = self.solver.step(terms, *span, y0, args, memory, False)
        after = _height(terms, y1)
        rises = after > before
        y1 = jax.tree.map(lambda a, b: jnp.where(rises, b, a), y1, _at_rest(y1))
        return y1, None, dict(y0=y0, y1=y1), (jnp.where(rises, t1, began), after), result


def _height(terms: Any, y: Any) -> Any:
    """The energy of the positions."""
    system, mu = posed(terms, y)
    # From a Gaussian a run averages what particles share.
    system = system.system if isinstance(system, Averaged) else system
    if not isinstance(system, AcceleratedFlow):
        raise ValueError(f"Restart steps an AcceleratedFlow, and not {type(system).__name__}.")
    return system.energy(positions(mu))


def _at_rest(y: Any) -> Any:
    """The same positions with momenta 0."""
    if isinstance(y, Gaussian):
        moves = (jnp.arange(y.m.size) < y.m.size // 2).astype(y.m.dtype)
        return replace(y, m=y.m * moves, cov=y.cov * moves * moves[:, None])
    is_phase = lambda x: isinstance(x, Phase)  # noqa: E731

    def still(x):
        return Phase(x.q, jax.tree.map(jnp.zeros_like, x.p)) if is_phase(x) else x

    return jax.tree.map(still, y, is_leaf=is_phase)

r"""The variational movement scheme of games ([conger2025]).

    (μ_1, …, μ_n)_{k+1} is a Nash equilibrium of  F_i(μ_i, μ_{−i}) + W₂²(μ_i, μ_{i,k})/(2τ)

With one species it is JKO. Masses that grow, as in `FisherRao`, take the implicit step with the
relative entropy KL(μ_i | μ_{i,k})/τ in the place of the square. The partially implicit scheme holds
the others at their last step, and is unstable where what they do to each other is stronger than
1/τ.
"""

from typing import ClassVar

import diffrax
import jax

from .._custom_types import Positive
from ..measures import Gaussian, GridDensity, Particles
from ..measures._base import replace
from ..systems.games import Game
from ._base import AbstractScheme, posed, unwrapped
from ._proximal import proximal


class VariationalMovement(AbstractScheme):
    """Implicit steps of a dict of measures, such as of a `Game`, each in its own geometry.

    Each step is solved as one of `JKO` is; a run fails where none is found. Order 1.

    **Arguments:** `tau`: the step τ, the `dt` of the run. `partial`: whether each species sees the
    others as they were. `max_steps`: bound on Newton's steps.

    !!! example

        `simulate(Game(costs), state, ts, solver=VariationalMovement(tau))`
    """

    tau: Positive
    partial: bool = False
    max_steps: int = 50

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        kinds = Particles | Gaussian | GridDensity
        if not isinstance(y0, dict) or not all(isinstance(y, kinds) for y in y0.values()):
            raise ValueError(
                f"VariationalMovement was given {jax.tree.structure(y0)}; it steps a dict of "
                "Particles, Gaussians and GridDensities. One measure takes JKO."
            )
        if not isinstance(unwrapped(terms), diffrax.ODETerm):
            raise ValueError(
                "VariationalMovement was given noise: atoms have no entropy to minimise. Give "
                "species that diffuse as a Gaussian or a GridDensity."
            )
        drift, h = lambda y: terms.vf(t1, y, args), t1 - t0
        start = posed(terms, y0)[1]
        if self.partial:
            y1 = {}
            for name, y in y0.items():
                own = lambda z, n=name: drift(y0 | {n: z})[n]  # noqa: E731
                y1[name] = proximal(y, start[name], own, h, self.max_steps)
        else:
            y1 = proximal(y0, start, drift, h, self.max_steps)
        if isinstance(posed(terms, y0)[0], Game):
            y1 = {name: _of_mass(y, y1[name]) for name, y in y0.items()}
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def _of_mass(before, after):
    """Weights of the mass that they had, which no cost of a game changes."""
    if not isinstance(after, Particles) or after.log_w is None:
        return after
    gained = jax.nn.logsumexp(after.log_w) - jax.nn.logsumexp(before.log_w)
    return replace(after, log_w=after.log_w - gained)

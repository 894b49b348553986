r"""Euler steps of a Sinkhorn flow that hand on their potentials.

    X₁ = X₀ − τ ∇(f_{μν} − f_{μμ})(X₀),   μ the measure of X₀

A step moves the potentials a little, so that Newton's method begins where it ended.
"""

from typing import ClassVar

import diffrax
import jax

from ..energies import SinkhornDivergence
from ..measures import Particles
from ..measures._base import replace
from ..metrics import Wasserstein
from ..systems.flows import GradientFlow
from ._base import AbstractScheme, posed


class WarmSinkhorn(AbstractScheme):
    """Euler steps of `GradientFlow(SinkhornDivergence(…))` from `Particles`, at constant steps.

    The steps are those of `diffrax.Euler()` to round-off, in about two thirds of the time.

    !!! example

        `simulate(GradientFlow(SinkhornDivergence(nu, 0.1)), mu, ts, dt=dt, solver=WarmSinkhorn())`
    """

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        energy, mu = _posed(terms, y0)
        return energy.potentials(mu)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        energy, mu = _posed(terms, y0)
        found = energy.potentials(mu, solver_state)
        slopes = jax.vmap(jax.grad(lambda x: energy.extended(x, mu, found)))(mu.x)
        moves = jax.vmap(mu.space.project)(mu.x, slopes)
        y1 = replace(y0, x=mu.x - (t1 - t0) * moves)
        return y1, None, dict(y0=y0, y1=y1), found, diffrax.RESULTS.successful


def _posed(terms, y0) -> tuple[SinkhornDivergence, Particles]:
    """The energy whose flow it is, and the particles."""
    flow, mu = posed(terms, y0)
    if isinstance(flow, GradientFlow) and isinstance(flow.metric, Wasserstein):
        energy = flow.energy
        if isinstance(energy, SinkhornDivergence) and isinstance(mu, Particles):
            return energy, mu
    raise ValueError(
        "WarmSinkhorn was given another problem than a GradientFlow of a SinkhornDivergence alone, "
        "in the metric Wasserstein(), from Particles. For anything else leave out `solver`."
    )

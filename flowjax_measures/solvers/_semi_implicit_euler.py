r"""Euler steps of damped points with noise, implicit in the damping ([grassi2021]).

    p₁ = (p₀ + h F(q₀) + σ(q₀) ΔW)/(1 + αh),     q₁ = q₀ + h p₁

for q̇ = p, dp = F dt − αp dt + σ dW. Where F and σ are of size 1/m and α = (1 − m)/m the step has a
limit as m → 0: that of Euler and Maruyama for dq = mF dt + mσ dW.
"""

from typing import ClassVar

import diffrax

from .._custom_types import Scalar
from ..spaces import Phase
from ._base import AbstractScheme
from ._conformal import _axpy, _by_phase, _scale


class SemiImplicitEuler(AbstractScheme):
    """Steps of any length beside light inertia, for points `Phase(q, p)` with q̇ = p.

    **Arguments:** `damping`: the system's α, in the drift of p; (1 − m)/m of `SwarmConsensus`.

    !!! example

        `simulate(SwarmConsensus(f, inertia=m), mu, ts, dt=dt, key=key,
        solver=SemiImplicitEuler((1 - m) / m))`
    """

    damping: Scalar

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        h = t1 - t0
        loss = self.damping * h
        kick = terms.vf_prod(t0, y0, args, terms.contr(t0, t1))

        def advance(z, k):
            p = _scale(1 / (1 + loss), _axpy(1 + loss, z.p, k.p))
            return Phase(_axpy(h, p, z.q), p)

        y1 = _by_phase(advance, y0, kick)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

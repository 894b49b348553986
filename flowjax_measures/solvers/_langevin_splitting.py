r"""Splittings of Langevin's equation with momentum ([leimkuhler2013]).

    dq = p dt,   dp = F(q) dt − γ p dt + σ dW

is taken apart into moves that are solved exactly, one after the other:

    A   q ← q + h p
    B   p ← p + h F(q)
    O   p ← e^{−γh} p + √((1 − e^{−2γh})/2γ) σ ξ

"BAOAB" halves A and B around O. Second order in law, with one force a step; in a quadratic
potential the invariant law of q has no error at all, for every stable step.
"""

from functools import partial
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import Positive
from ..spaces import Phase
from ._base import AbstractScheme, posed
from ._conformal import _axpy, _by_phase


class LangevinSplitting(AbstractScheme):
    """A splitting scheme for points `Phase(q, p)` with q̇ = p, such as `UnderdampedLangevin`.

    **Arguments:** `friction`: the system's γ > 0, in the drift of p. `moves`: the order of a step,
    "BAOAB" or "ABOBA".

    !!! example

        `simulate(UnderdampedLangevin(V, gamma), mu, ts, dt=dt, key=key,
        solver=LangevinSplitting(gamma))`
    """

    friction: Positive
    moves: str = "BAOAB"

    orders: ClassVar = (2, None)

    def __check_init__(self):
        if self.moves not in ("BAOAB", "ABOBA"):
            raise ValueError(f'`moves` is {self.moves!r}; it is "BAOAB" or "ABOBA".')

    def _force(self, terms, t, y, args):
        """F(q), the drift of p without its friction."""
        drift = terms.vf(t, y, args)[0]
        return _by_phase(lambda d, z: _axpy(self.friction, z.p, d.p), drift, y)

    def init(self, terms, t0, t1, y0, args):
        if isinstance(terms, diffrax.ODETerm):
            raise ValueError("LangevinSplitting was given no noise; take ConformalSymplecticEuler.")
        # A system whose friction is a matrix refuses here.
        getattr(posed(terms, y0)[0], "langevin", None)
        # Where nothing moves q after the last B, the next step begins with the same force.
        keeps = self.moves.rfind("A") < self.moves.rfind("B")
        return self._force(terms, t0, y0, args) if keeps else None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        h, y, force, t = t1 - t0, y0, solver_state, t0
        for move in self.moves:
            part: Any = h / 2
            if move == "A":
                y = _by_phase(lambda z, part=part: Phase(_axpy(part, z.p, z.q), z.p), y)
                force, t = None, t + part
            elif move == "B":
                force = self._force(terms, t, y, args) if force is None else force
                y = _by_phase(lambda z, f, part=part: Phase(z.q, _axpy(part, f, z.p)), y, force)
            else:
                noise, still = terms.vf(t, y, args)[1], jax.tree.map(jnp.zeros_like, y)
                kick = terms.prod((still, noise), (0.0, terms.contr(t0, t1)[1]))
                y = _by_phase(partial(self._thermostat, h), y, kick)
        return y, None, dict(y0=y0, y1=y), force, diffrax.RESULTS.successful

    def _thermostat(self, h, z, kick):
        """O: `kick` is the noise of a step without friction."""
        rate = jnp.asarray(self.friction * h)
        keep, scale = jnp.exp(-rate), jnp.sqrt(-jnp.expm1(-2 * rate) / (2 * rate))
        return Phase(z.q, _axpy(keep, z.p, _axpy(scale - 1, kick.p, kick.p)))

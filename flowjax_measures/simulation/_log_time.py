r"""A system in logarithmic time s = log t, for what happens on exponentially long scales.

    dx/ds = e^s v(e^s, x),   d log w/ds = e^s g(e^s, x)

Metastable states of attention last e^{β(1 − ⟨x_i, x_j⟩)}. A stiff solver (`diffrax.Kvaerno5()`)
crosses them in a number of steps that grows with their logarithm.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._system import AbstractSystem
from ..measures import Increment


class LogTime(AbstractSystem):
    r"""A system without noise, run in s = log t.

    **Arguments:** `system`: the system in its own time t.

    !!! example

        `simulate(LogTime(MeanShift(beta=20.0)), clusters, [-3.0, 40.0], solver=Kvaerno5())` runs
        from t = e^{−3} to t = e^{40}.
    """

    system: AbstractSystem

    def __call__(self, t, state):
        time = jnp.exp(t)
        drift, noise = self.system(time, state)
        if noise is not None:
            raise ValueError(
                f"{type(self.system).__name__} has noise, which needs its own time: run it without "
                "`LogTime`."
            )
        faster = lambda a: a * jnp.asarray(time, a.dtype) if eqx.is_inexact_array(a) else a  # noqa: E731
        return Increment(jax.tree.map(faster, drift))

r"""The log-likelihood of points under a flow, by the divergence along its paths ([chen2018]).

    log ρ_T(X_T) = log ρ_0(X_0) − ∫_0^T ∇·v(t, X_t) dt

It is run back: points start at X_T, end at X_0, and carry the integral.
"""

import jax
import jax.numpy as jnp

from ..._custom_types import Scalar
from ..._system import AbstractMeanField
from ...measures import Rates


class LogLikelihood(AbstractMeanField):
    """A flow run back from time T, for points `(x, integral)` that start with the integral 0.

    The divergence is exact, the trace of a Jacobian; points may not interact.

    **Arguments:** `flow`: the system, without noise. `horizon`: T.

    !!! example

        `x, change = simulate(LogLikelihood(flow), Particles((data, zeros)), [0, 1]).final.x`, and
        log ρ_1 of the data is log ρ_0(x) + `change`.
    """

    flow: AbstractMeanField
    horizon: Scalar = 1.0

    def rates(self, t, x, mu):
        point, _ = x

        def velocity(z):
            law = self.flow.rates(self.horizon - t, z, mu)
            if law.noise is not None:
                raise ValueError("`flow` has noise; a likelihood is that of a flow without noise.")
            return law.velocity

        divergence = jnp.trace(jax.jacfwd(velocity)(point))
        return Rates((-velocity(point), -divergence))

r"""The log-likelihood of points under a flow, by the divergence along its paths ([chen2018]).

    log ρ_T(X_T) = log ρ_0(X_0) − ∫_0^T ∇·v(t, X_t) dt

It is run back: points start at X_T, end at X_0, and carry the integral. In many dimensions the
divergence is estimated without a bias by ⟨z, Dv z⟩ with random signs z ([grathwohl2019]).
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import Positive, PRNGKey
from ..._system import AbstractMeanField
from ...measures import Rates


class LogLikelihood(AbstractMeanField):
    """A flow run back from time T, for points `(x, integral)` that start with the integral 0.

    Points may not interact. `log_likelihood` runs it.

    **Arguments:**

    - `flow`: the system, without noise. `horizon`: T.
    - `divergence`: "exact", the trace of a Jacobian, d products; or "hutchinson", an estimate.
    - `key`, `probes`: of the estimate: how many draws of signs, the same at all times and points.

    !!! example

        `x, change = simulate(LogLikelihood(flow), Particles((data, zeros)), [0, 1]).final.x`, and
        log ρ_1 of the data is log ρ_0(x) + `change`.
    """

    flow: AbstractMeanField
    horizon: Positive = 1.0
    divergence: str = eqx.field(static=True, default="exact")
    key: PRNGKey | None = None
    probes: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        super().__check_init__()
        if self.divergence not in ("exact", "hutchinson"):
            raise ValueError(f'`divergence` is {self.divergence!r}; give "exact" or "hutchinson".')
        if self.divergence == "hutchinson" and self.key is None:
            raise ValueError('`key` is missing; `divergence` "hutchinson" draws its signs by it.')
        if self.probes < 1:
            raise ValueError(f"`probes` is {self.probes}; give at least one.")

    def rates(self, t, x, mu):
        point, _ = x

        def velocity(z):
            law = self.flow.rates(self.horizon - t, z, mu)
            if law.noise is not None:
                raise ValueError("`flow` has noise; a likelihood is that of a flow without noise.")
            return law.velocity

        if self.divergence == "exact" or self.key is None:
            divergence = jnp.trace(jax.jacfwd(velocity)(point))
        else:
            signs = jax.random.rademacher(self.key, (self.probes, point.size), point.dtype)
            along = jax.vmap(lambda z: jnp.vdot(z, jax.jvp(velocity, (point,), (z,))[1]))
            divergence = jnp.mean(along(signs))
        return Rates((-velocity(point), -divergence))

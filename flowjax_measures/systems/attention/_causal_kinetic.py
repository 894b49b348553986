r"""The kinetic limit of causal attention on the circle (Duerinckx, Geshkovski and Rossi).

Tokens at positions σ in (0, 1) of the context with angles θ have the density f(t, σ, θ):

    ∂_t f + ∂_θ (f V[f]) = 0,   V[f](σ, θ) = ∫_0^σ Q(σ, σ') (W' ∗_θ f)(σ', θ) dσ',
    Q(σ, σ') = λ e^{−λ(σ − σ')}/(1 − e^{−λσ}),   W(x) = e^{β cos x}.

Its linearisation carries correlations: the derivative of f(t) with respect to f(0) in the
direction δ_{σ₀} φ f(0) is δ_{σ₀} A_φ + C_φ, where C_φ(t, σ) is the limit of N times the covariance
of the token at σ at time t with φ of the one at σ₀ at time 0. So the correlation field is a
`jax.jvp` through `simulate`.
"""

import jax.numpy as jnp
import numpy as np

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates


class CausalKinetic(AbstractMeanField):
    r"""Points (σ, θ) of which each sees those of smaller σ, the recent ones most.

    **Arguments:** `beta`: β in W(x) = e^{β cos x}; `recency`: λ.

    From a `GridDensity` on [0, 1] × [0, 2π], `periodic=(False, True)`, it is the kinetic equation,
    of second order in the cells; from particles it is `CausalCircle` up to O(1/n). Points of the
    same σ see each other by half.

    !!! example

        `fm.simulate(fm.CausalKinetic(), fm.Particles(jnp.ones((4, 2))), [0.0, 0.1], dt=0.1)`
    """

    beta: FloatScalar = 1.0
    recency: FloatScalar = 0.0

    def rates(self, t, x, mu):
        def pull(y):
            away = x[1] - y[1]
            return -self.beta * jnp.sin(away) * jnp.exp(self.beta * jnp.cos(away))

        def past(y):
            behind = x[0] - y[0]
            seen = jnp.where(behind > 0, 0.0, jnp.where(behind < 0, -jnp.inf, -np.log(2)))
            return seen.astype(x.dtype) - self.recency * behind

        velocity = mu.mean(pull, past)
        return Rates(jnp.stack([jnp.zeros_like(velocity), velocity]))

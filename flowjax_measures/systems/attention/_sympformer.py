r"""Accelerated attention: tokens with momenta, damped Hamiltonian flow (Stein, Li and Steidl).

Attention descends an energy F in a metric G_μ on measures; its accelerated flow is that of
H(μ, Φ) = ½ ∫ Φ G_μ⁻¹ Φ + F(μ), damped. At points q with momenta p = ∇Φ(q), softmax attention is

    H = ½ ∫ |p|²/Z(q) dμ − (1/2β) ∬ e^{β⟨q, Aq'⟩} dμ dμ,   Z(q) = ∫ e^{β⟨q, Aq'⟩} μ(dq')
    q̇ = p / Z(q)
    ṗ = −αp + A ∫ [1 + (β/2)(|p|²/Z(q)² + |p'|²/Z(q')²)] e^{β⟨q, Aq'⟩} q' dμ

and linear attention

    H = ½ ∬ ⟨q, Aq'⟩⟨p, p'⟩ dμ dμ − ½ ∫ ⟨q, Vq⟩ dμ
    q̇ = ∫ p'⟨Aq', q⟩ dμ,   ṗ = −αp − A ∫ q'⟨p', p⟩ dμ + V q.

H decreases at the rate α ∫ ⟨p, q̇⟩ dμ. Where p ∝ ∇F the momenta follow the first-order flow.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Particles, Rates
from ...measures._base import replace
from ...spaces import Phase
from ._matrices import times


class SympFormer(AbstractMeanField):
    r"""Inertial attention of particles with `Phase(q, p)` points.

    **Arguments:**

    - `attention`: "softmax" or "linear".
    - `matrix`: A = KᵀQ, symmetric (only its symmetric part acts); `None` is the identity.
    - `value`: V, symmetric, for linear attention; softmax has V = A.
    - `beta`: inverse temperature β of softmax.
    - `damping`: α, a number or a function of time (3/t is Nesterov's).

    Linear attention also runs from a `Gaussian` of vectors (q, p) in R^{2d}: its closure is exact,
    for laws with p affine in q the closed equation of elliptic laws.

    Conformally symplectic solvers are in `solvers`.
    """

    attention: Literal["softmax", "linear"] = eqx.field(static=True, default="softmax")
    matrix: Float[Array, "d d"] | None = None
    value: Float[Array, "d d"] | None = None
    beta: FloatScalar = 1.0
    damping: FloatScalar | Callable[[FloatScalar], Any] = 1.0

    def __check_init__(self):
        if self.attention not in ("softmax", "linear"):
            raise ValueError(f'`attention` is {self.attention!r}; it is "softmax" or "linear".')
        if self.attention == "softmax" and self.value is not None:
            raise ValueError("`value` is for linear attention; softmax attention has V = A.")

    def rates(self, t, x, mu):
        flat = not isinstance(x, Phase)
        point = Phase(*jnp.split(x, 2)) if flat else x
        conservative = self._linear if self.attention == "linear" else self._softmax
        velocity = conservative(point, mu, (lambda y: Phase(*jnp.split(y, 2))) if flat else None)
        alpha = self.damping(t) if callable(self.damping) else self.damping
        velocity = Phase(velocity.q, velocity.p - alpha * point.p)
        return Rates(jnp.concatenate(velocity) if flat else velocity)

    def energy(self, mu: Any) -> FloatScalar:
        """H of particles."""
        if self.attention == "linear":
            carried = mu.mean(lambda y: jnp.outer(y.p, self._a(y.q)))
            moment = mu.mean(lambda y: jnp.outer(y.p, y.q))
            potential = mu.mean(lambda y: jnp.vdot(y.q, times(self.value, y.q)))
            return (jnp.vdot(carried, moment) - potential) / 2
        crowded = self._with_normalisers(mu)
        kinetic = crowded.mean(lambda y: jnp.vdot(y[0].p, y[0].p) * jnp.exp(-y[1])) / 2
        return kinetic - crowded.mean(lambda y: jnp.exp(y[1])) / (2 * self.beta)

    def _a(self, x):
        if self.matrix is None:
            return x
        return (self.matrix @ x + self.matrix.T @ x) / 2

    def _linear(self, x, mu, split):
        phase = split or (lambda y: y)
        moment = mu.mean(lambda y: jnp.outer(phase(y).p, phase(y).q))
        return Phase(moment @ self._a(x.q), times(self.value, x.q) - self._a(moment.T @ x.p))

    def _with_normalisers(self, mu):
        """The particles as pairs (Phase, log Z)."""
        if not isinstance(mu, Particles):
            raise ValueError(
                "Softmax attention with momenta has no closure: run it from `Particles` of "
                f"`Phase(q, p)` points, not from a {type(mu).__name__}."
            )
        log_z = jax.vmap(lambda y: mu.logmean(lambda z: self._score(y, z)))(mu.x)
        return replace(mu, x=(mu.x, log_z))

    def _score(self, x, y):
        return self.beta * jnp.vdot(self._a(x.q), y.q)

    def _softmax(self, x, mu, split):
        crowded = self._with_normalisers(mu)

        def reads(y):
            inertia = jnp.vdot(y[0].p, y[0].p) * jnp.exp(-2 * y[1])
            return y[0].q, inertia * y[0].q

        (near, pushed), log_z = crowded.tilt(reads, lambda y: self._score(x, y[0]))
        own = 1 + self.beta / 2 * jnp.vdot(x.p, x.p) * jnp.exp(-2 * log_z)
        force = jnp.exp(log_z) * self._a(own * near + self.beta / 2 * pushed)
        return Phase(x.p * jnp.exp(-log_z), force)

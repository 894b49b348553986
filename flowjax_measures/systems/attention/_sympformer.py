r"""Accelerated attention: tokens with momenta, damped Hamiltonian flow (Stein, Li and Steidl).

Attention descends an energy F in a metric G_μ on measures; its accelerated flow is that of
H(μ, Φ) = ½ ∫ Φ G_μ⁻¹ Φ + F(μ), damped. At points q with momenta p = ∇Φ(q), softmax attention is

    H = ½ ∫ |p|²/Z(q) dμ − (1/2β) ∬ e^{β⟨q, Aq'⟩} dμ dμ,   Z(q) = ∫ e^{β⟨q, Aq'⟩} μ(dq')
    q̇ = p / Z(q)
    ṗ = −αp + A ∫ [1 + (β/2)(|p|²/Z(q)² + |p'|²/Z(q')²)] e^{β⟨q, Aq'⟩} q' dμ

and linear attention

    H = ½ ∬ ⟨q, Aq'⟩⟨p, p'⟩ dμ dμ − ½ ∫ ⟨q, Vq⟩ dμ
    q̇ = ∫ p'⟨Aq', q⟩ dμ,   ṗ = −αp − A ∫ q'⟨p', p⟩ dμ + V q.

H decreases at the rate α ∫ ⟨p, q̇⟩ dμ.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._numerics import damped
from ..._system import AbstractMeanField
from ...measures import Particles, Rates
from ...measures._base import replace
from ...spaces import Phase
from ._matrices import Matrix, at, fitting, second_moment, times


class SympFormer(AbstractMeanField):
    r"""Inertial attention of particles with `Phase(q, p)` points.

    **Arguments:**

    - `attention`: "softmax" or "linear".
    - `matrix`: A = KᵀQ, symmetric (only its symmetric part acts); `None` is the identity.
    - `value`: V, symmetric, for linear attention; softmax has V = A. Both may depend on time.
    - `beta`: inverse temperature β of softmax.
    - `damping`: α, a number or a function of time (3/t, Nesterov's, starts from t = 0 at rest).

    Both also run from a `Gaussian` of vectors (q, p) in R^{2d}. The closure of linear attention is
    exact, for laws with p affine in q the closed equation of elliptic laws. Softmax has none: were
    the velocity u = p/Z affine, u = Sq, the parts of third order of ṗ/Z would have to agree, in one
    dimension 2 = ½ + (βAΣ)²/2; so its Gaussian is a projection, right to first order in time.
    """

    attention: Literal["softmax", "linear"] = eqx.field(static=True, default="softmax")
    matrix: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0
    damping: FloatScalar | Callable[[FloatScalar], Any] = 1.0

    def __check_init__(self):
        if self.attention not in ("softmax", "linear"):
            raise ValueError(f'`attention` is {self.attention!r}; it is "softmax" or "linear".')
        if self.attention == "softmax" and self.value is not None:
            raise ValueError("`value` is for linear attention; softmax attention has V = A.")

    def rates(self, t, x, mu):
        if callable(self.matrix) or callable(self.value):
            return replace(self, matrix=at(self.matrix, t), value=at(self.value, t)).rates(t, x, mu)
        fitting("matrix", self.matrix, _phase(x).q.size)
        velocity = (self._linear if self.attention == "linear" else self._softmax)(x, mu)
        velocity = velocity._replace(p=damped(self.damping, t, velocity.p, _phase(x).p))
        return Rates(velocity if isinstance(x, Phase) else jnp.concatenate(velocity))

    def energy(self, mu: Any) -> FloatScalar:
        """H of a measure."""
        if self.attention == "linear":
            moment = mu.mean(lambda y: jnp.outer(_phase(y).p, _phase(y).q))
            potential = mu.mean(lambda y: jnp.vdot(_phase(y).q, times(self.value, _phase(y).q)))
            return (jnp.vdot(jax.vmap(self._a)(moment), moment) - potential) / 2
        mu, phase, log_z = self._crowded(mu)
        square = lambda y: jnp.vdot(phase(y).p, phase(y).p)  # noqa: E731
        kinetic, log_mass = mu.tilt(square, lambda y: -log_z(y))
        return jnp.exp(log_mass) * kinetic / 2 - jnp.exp(mu.logmean(log_z)) / (2 * self.beta)

    def _a(self, x):
        if self.matrix is None:
            return x
        return (self.matrix @ x + self.matrix.T @ x) / 2

    def _linear(self, x, mu):
        moment = second_moment(mu, x, lambda y: _phase(y).p, lambda y: _phase(y).q)
        q, p = _phase(x)
        return Phase(moment @ self._a(q), times(self.value, q) - self._a(moment.T @ p))

    def _score(self, x, y):
        return self.beta * jnp.vdot(self._a(x.q), y.q)

    def _crowded(self, mu):
        """The measure, and what tells the phase and log Z of its points; a table for particles."""
        log_z = lambda y: mu.logmean(lambda z: self._score(_phase(y), _phase(z)))  # noqa: E731
        if not isinstance(mu, Particles):
            return mu, _phase, log_z
        known = replace(mu, x=(mu.x, jax.vmap(log_z)(mu.x)))
        return known, lambda y: _phase(y[0]), lambda y: y[1]

    def _softmax(self, x, mu):
        mu, phase, log_z = self._crowded(mu)
        x = _phase(x)

        def reads(y):
            inertia = jnp.vdot(phase(y).p, phase(y).p) * jnp.exp(-2 * log_z(y))
            return phase(y).q, inertia * phase(y).q

        (near, pushed), log_here = mu.tilt(reads, lambda y: self._score(x, phase(y)))
        own = 1 + self.beta / 2 * jnp.vdot(x.p, x.p) * jnp.exp(-2 * log_here)
        force = jnp.exp(log_here) * self._a(own * near + self.beta / 2 * pushed)
        return Phase(x.p * jnp.exp(-log_here), force)


def _phase(y):
    """A point as `Phase(q, p)`; points of a Gaussian are vectors (q, p)."""
    return y if isinstance(y, Phase) else Phase(*jnp.split(y, 2))

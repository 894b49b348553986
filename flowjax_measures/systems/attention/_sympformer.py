r"""Accelerated attention: tokens with momenta, damped Hamiltonian flow (Stein, Li and Steidl).

Attention descends an energy F in a metric G_μ on measures; its accelerated flow is that of
H(μ, Φ) = ½ ∫ Φ G_μ⁻¹ Φ + F(μ), damped. At points q with momenta p = ∇Φ(q), softmax attention is

    H = ½ ∫ |p|²/Z(q) dμ − (1/2β) ∬ k dμ dμ,   k = e^{β⟨q, Aq'⟩},   Z(q) = ∫ k(q, q') μ(dq')
    q̇ = p / Z(q)
    ṗ = −αp + A ∫ [1 + (β/2)(|p|²/Z(q)² + |p'|²/Z(q')²)] k(q, q') q' dμ

and linear attention

    H = ½ ∬ ⟨q, Aq'⟩⟨p, p'⟩ dμ dμ − ½ ∫ ⟨q, Vq⟩ dμ
    q̇ = ∫ p'⟨Aq', q⟩ dμ,   ṗ = −αp − A ∫ q'⟨p', p⟩ dμ + V q.

H decreases at the rate α ∫ ⟨p, q̇⟩ dμ. Heads of queries and keys have the kernel
k = Σ_h ½ (e^{β⟨Q_h q, K_h q'⟩} + e^{β⟨K_h q, Q_h q'⟩}), whose energy is that of the heads together.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._numerics import damped
from ..._system import AbstractMeanField
from ...measures import Rates
from ...spaces import Phase
from ._inertial_softmax import Kernel, energy_of, motion_of, phase
from ._matrices import Matrix, at, fitting, second_moment, times


class SympFormer(AbstractMeanField):
    r"""Inertial attention of particles with `Phase(q, p)` points.

    **Arguments:**

    - `attention`: "softmax" or "linear".
    - `matrix`: A = KᵀQ, symmetric (only its symmetric part acts); `None` is the identity.
    - `value`: V, symmetric, for linear attention; softmax has V = A.
    - `beta`: inverse temperature β of softmax.
    - `damping`: α, a number or a function of time (3/t, Nesterov's, starts from t = 0 at rest).
    - `query`, `key`: Q and K of shape (k, d) or, for heads, (h, k, d), in place of `matrix`, or
      functions of time; for softmax. All matrices may depend on time.

    Both also run from a `Gaussian` of vectors (q, p) in R^{2d}. The closure of linear attention is
    exact, for laws with p affine in q the closed equation of elliptic laws. Softmax has none: were
    the velocity u = p/Z affine, u = Sq, the parts of third order of ṗ/Z would have to agree, in one
    dimension 2 = ½ + (βAΣ)²/2; so its Gaussian is a projection, right to first order in time.

    !!! example

        `fm.SympFormer("linear", jnp.eye(2)).energy(fm.Particles(fm.Phase(mu.x, mu.x)))`
    """

    attention: Literal["softmax", "linear"] = eqx.field(static=True, default="softmax")
    matrix: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0
    damping: FloatScalar | Callable[[FloatScalar], Any] = 1.0
    query: Matrix = eqx.field(default=None, kw_only=True)
    key: Matrix = eqx.field(default=None, kw_only=True)

    def __check_init__(self):
        if self.attention not in ("softmax", "linear"):
            raise ValueError(f'`attention` is {self.attention!r}; it is "softmax" or "linear".')
        if self.attention == "softmax" and self.value is not None:
            raise ValueError("`value` is for linear attention; softmax attention has V = A.")
        if self._headed() and (self.attention == "linear" or self.matrix is not None):
            raise ValueError("`query` and `key` are for softmax attention, in place of `matrix`.")

    def rates(self, t, x, mu):
        here = phase(x)
        if self.attention == "linear":
            velocity = self._linear(t, here, x, mu)
        else:
            velocity = motion_of(self._kernel(t, here.q.size), here, mu)
        velocity = velocity._replace(p=damped(self.damping, t, velocity.p, here.p))
        return Rates(velocity if isinstance(x, Phase) else jnp.concatenate(velocity))

    def energy(self, mu: Any, t: FloatScalar = 0.0) -> FloatScalar:
        """H of a measure, at time t where matrices depend on it."""
        if self.attention == "softmax":
            size = mu.mean(lambda y: phase(y).q).size
            return energy_of(self._kernel(t, size), mu)
        a, value = self._symmetric(t), at(self.value, t)
        moment = mu.mean(lambda y: jnp.outer(phase(y).p, phase(y).q))
        potential = mu.mean(lambda y: jnp.vdot(phase(y).q, times(value, phase(y).q)))
        return (jnp.vdot(moment if a is None else moment @ a, moment) - potential) / 2

    def _headed(self):
        return self.query is not None or self.key is not None

    def _symmetric(self, t):
        a = at(self.matrix, t)
        return None if a is None else (a + a.T) / 2

    def _kernel(self, t, d):
        if not self._headed():
            fitting("matrix", at(self.matrix, t), d)
            return Kernel((self._symmetric(t),), (1.0,), self.beta)
        query, key = at(self.query, t), at(self.key, t)
        if fitting("query", query, d, True) != fitting("key", key, d, True):
            raise ValueError("`query` and `key` have different numbers of rows; give them as many.")
        eye = jnp.eye(d, dtype=jnp.result_type(*(m for m in (query, key) if m is not None)))
        query, key = (eye if m is None else m for m in (query, key))
        pairs = jnp.swapaxes(key, -1, -2) @ query
        heads = pairs.reshape(-1, d, d)
        both = tuple(m for a in heads for m in (a, a.T))
        return Kernel(both, (0.5,) * len(both), self.beta)

    def _linear(self, t, here, x, mu):
        a, value = self._symmetric(t), at(self.value, t)
        fitting("matrix", at(self.matrix, t), here.q.size)
        moment = second_moment(mu, x, lambda y: phase(y).p, lambda y: phase(y).q)
        force = times(value, here.q) - times(a, moment.T @ here.p)
        return Phase(moment @ times(a, here.q), force)

r"""Sinkhorn attention: weights made doubly stochastic ([sander2022]).

    ẋ = ∫ κ(x, y) V y μ(dy),   κ(x, y) = e^{β⟨Qx, Ky⟩ + f(x) + g(y)},
    ∫ κ(x, y) μ(dy) = 1 for all x,   ∫ κ(x, y) μ(dx) = 1 for all y.

As e^{β⟨Qx, Ky⟩} is e^{−(β/2)‖Qx − Ky‖²} up to factors of x and of y, f and g are Schrödinger
potentials of entropic transport. From N(m, Σ) the coupling is Gaussian: with the singular values
b of Σ^{1/2} βQᵀK Σ^{1/2} = U b Wᵀ its cross-covariance is Σ^{1/2} U c Wᵀ Σ^{1/2}, c = 2b/(1 +
√(1 + 4b²)); in one dimension σ' = v (√(1 + 4k²σ²) − 1)/k with σ the variance and k = βQK.
"""

import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._numerics._matrix import square_root
from ..._reduce import tilted_mean
from ..._system import AbstractMeanField
from ...energies._schrodinger import potentials
from ...measures import Gaussian, Rates
from ._matrices import Matrix, evaluated, times


class SinkhornAttention(AbstractMeanField):
    r"""Attention in which everyone is looked at as much as everyone looks.

    **Arguments:**

    - `query`, `key`, `value`: matrices Q, K of shape (k, d), V of shape (d, d), or functions of
      time that return them; `None` is the identity.
    - `beta`: inverse temperature β ≠ 0, negative values too.

    The potentials are solved to round-off at each evaluation, O(n²) memory, with the derivative
    of the fixed point. From a `Gaussian` the closure is exact.
    """

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0

    def rates(self, t, x, mu):
        query, key, value = evaluated(self, t, x).values()
        read = self._of_gaussian if isinstance(mu, Gaussian) else self._of_atoms
        return Rates(times(value, read(x, mu, query, key)))

    def _of_atoms(self, x, mu, query, key):
        points, log_w = mu.atoms()
        log_w = log_w - jax.nn.logsumexp(log_w)
        # β⟨Qx, Ky⟩ = |β|⟨sign(β)Qx, Ky⟩.
        sign, strength = jnp.sign(self.beta), jnp.abs(self.beta)
        looks = lambda y: jnp.asarray(sign, y.dtype) * times(query, y)  # noqa: E731
        epsilon = jnp.asarray(2 / strength, points.dtype)
        keys = jax.vmap(lambda y: times(key, y))(points)
        _, g = potentials(jax.vmap(looks)(points), log_w, keys, log_w, epsilon)
        here = looks(x)

        def logits(atom):
            _, k, potential = atom
            return (potential - jnp.sum((here - k) ** 2)) / epsilon

        return tilted_mean(lambda atom: atom[0], logits, (points, keys, g), log_w)[0]

    def _of_gaussian(self, x, mu, query, key):
        identity = jnp.eye(x.size, dtype=x.dtype)
        score = jnp.asarray(self.beta, x.dtype) * (
            (identity if query is None else query).T @ (identity if key is None else key)
        )
        root = square_root(mu.cov)
        scaled = root @ score @ root
        inner = identity + square_root(identity + 4 * scaled.T @ scaled)
        # 2 R (I + √(I + 4BᵀB))⁻¹ R Aᵀ with R = Σ^{1/2}, A = βQᵀK, B = RAR: no inverse of Σ.
        slope = 2 * root @ jnp.linalg.solve(inner, root @ score.T)
        return mu.m + slope @ (x - mu.m)

r"""Linear attention: scores without the exponential ([katharopoulos2020], [castin2025]).

    ẋ = β ∫ ⟨Qx, Ky⟩ V y μ(dy) = β V M KᵀQ x,   M = ∫ y yᵀ dμ.

The velocity is linear in x, so second moments close for every measure:
Ṁ = βV M KᵀQ M + (…)ᵀ, and a Gaussian stays one.
"""

import jax
import jax.numpy as jnp

from ...measures import Particles
from ._matrices import second_moment
from ._watched import AbstractAttention


class LinearAttention(AbstractAttention):
    r"""Linear attention; O(n) work, since tokens meet only in the second moment.

    **Arguments:** `query`, `key`, `value`, `beta`, `output`, `causal`, `mask`, `bias`,
    `exclude_self` and `rotary` are those of `SelfAttention`. `beta` is the
    factor β of the scores. With a mask or a bias b the weight is β⟨Qx, Ky⟩ e^b, at O(n²) work.

    Second moments may blow up in finite time: in one dimension M' = 2βM².

    !!! example

        `fm.simulate(fm.LinearAttention(jnp.eye(3), jnp.eye(3)), tokens, [0.0, 0.1])`
    """

    def read(self, mu, look):
        looks = look.query(look.here)
        if look.relation is None:
            some = jax.tree.map(lambda a: a[0], mu.x) if isinstance(mu, Particles) else look.here
            return look.beta * (second_moment(mu, some, look.value, look.key) @ looks)
        relation = look.relation
        scored = lambda y: look.beta * jnp.vdot(looks, look.key(y)) * look.value(y)  # noqa: E731
        reads, log_seen = mu.tilt(scored, lambda y: relation(look.here, y))
        return jnp.exp(log_seen) * reads

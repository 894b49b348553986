r"""Attention to differences: a token moves by what it reads, less itself ([comaniciu2002]).

    ẋ = V ∫ e^{β⟨Qx, Ky⟩} (y − x) μ(dy) / ∫ e^{β⟨Qx, Ky⟩} μ(dy)

On the sphere and with V = λI this is the flow of `SelfAttention`, since x has no tangential part,
but not its round-off: what a token reads of itself is 0 and not a vector of length one whose
tangential part is 1e-16. So it follows clusters whose attraction is e^{−40}, and velocities inside
a cluster keep their digits however small it is.
"""

import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ._matrices import Matrix, evaluated, times


class MeanShift(AbstractMeanField):
    r"""Self-attention less the token itself; on the sphere the same flow to all digits.

    **Arguments:**

    - `query`, `key`, `value`: matrices Q, K of shape (k, d), V of shape (d, d), or functions of
      time that return them; `None` is the identity.
    - `beta`: inverse temperature β.
    """

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0

    def rates(self, t, x, mu):
        query, key, value = evaluated(self, t, x).values()
        looks = times(query, x)
        logits = lambda y: self.beta * jnp.vdot(looks, times(key, y))  # noqa: E731
        return Rates(times(value, mu.mean(lambda y: y - x, logits)))

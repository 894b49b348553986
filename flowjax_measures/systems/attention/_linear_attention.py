r"""Linear attention: scores without the exponential ([katharopoulos2020], [castin2025]).

    ẋ = β ∫ ⟨Qx, Ky⟩ V y μ(dy) = β V M KᵀQ x,   M = ∫ y yᵀ dμ.

The velocity is linear in x, so second moments close for every measure:
Ṁ = βV M KᵀQ M + (…)ᵀ, and a Gaussian stays one.
"""

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ._matrices import Matrix, evaluated, second_moment, times


class LinearAttention(AbstractMeanField):
    r"""Linear attention; O(n) work, since tokens meet only in the second moment.

    **Arguments:**

    - `query`, `key`, `value`: matrices Q, K of shape (k, d), V of shape (d, d), or functions of
      time that return them; `None` is the identity.
    - `beta`: the factor β of the scores.

    Second moments may blow up in finite time: in one dimension M' = 2βM².
    """

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None
    beta: FloatScalar = 1.0

    def rates(self, t, x, mu):
        query, key, value = evaluated(self, t, x).values()
        looks = times(query, x)
        asked = looks if key is None else key.T @ looks
        return Rates(self.beta * times(value, second_moment(mu, x) @ asked))

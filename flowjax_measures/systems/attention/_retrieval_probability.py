r"""How often the last token finds what it was asked for, in a causal model of attention.

    Acc_N = E e^{−M²φ²/2π²} = √(π/2)/M + √(2π) S(σ₀)/(MN) + o(1/N)

for a vocabulary of M, with φ the angle between the last of N tokens at time t and the one at
position σ₀ at time 0 (Duerinckx, Geshkovski and Rossi); S is `lost_in_the_middle`.
"""

import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import Count, Numbers
from ..._numerics import checked
from ._lost_in_the_middle import lost_in_the_middle


@checked
def retrieval_probability(
    t: Numbers, beta: Numbers, lam: Numbers, M: float | int, sigma0: Numbers, N: Count
) -> Float[Array, "..."]:
    r"""Acc_N up to o(1/N): √(π/2)/M + √(2π) S(σ₀)/(MN), S of `lost_in_the_middle`.

    It is the mean of e^{−M²φ²/2π²} with φ the angle between the last of N tokens at time t and the
    one at position σ₀ at time 0.

    **Arguments:** as of `lost_in_the_middle`; `N`: the number of tokens.

    **Returns:** of the broadcast shape.

    !!! example

        `fm.retrieval_probability(1.0, 1.0, 1.0, 8, 1.0, 100)`
    """
    if not (isinstance(N, int) and N >= 1):
        raise ValueError(f"`N` is {N!r}; give the number of tokens.")
    profile = lost_in_the_middle(t, beta, lam, M, sigma0)
    return np.sqrt(np.pi / 2) / M + np.sqrt(2 * np.pi) / (M * N) * profile

r"""Lost in the middle: how a causal model of attention remembers, by position (Duerinckx,
Geshkovski and Rossi).

Angles θ_1, …, θ_N, of which each attends to those before it with memory λ,

    θ̇_j = Σ_{k≤j} e^{−λ(j−k)/N} W'(θ_j − θ_k) / Σ_{l≤j} e^{−λ(j−l)/N},   W(x) = e^{β cos x},

start uniform and independent. N times the n-th Fourier mode of the correlation of the token at
position σ at time t with the one at σ₀ at time 0 tends to Ĝ_n, and with a_n = n² I_n(β)

    ∂_t Ĝ_n(t, σ) = a_n [∫_{σ₀}^σ Q(σ, σ') Ĝ_n(t, σ') dσ' + Q(σ, σ₀)],   Ĝ_n(0, ·) = 0,
    Q(σ, σ') = λ e^{λσ'} / (e^{λσ} − 1).

In y = log((e^{λσ} − 1)/(e^{λσ₀} − 1)) the bracket times e^{λσ} − 1 solves Goursat's problem
∂_t ∂_y U = a_n U with constant data, so it is λ e^{λσ₀} I_0(2√(a_n t y)), and

    Ĝ_n(t, σ) = Q(σ, σ₀) √(a_n t / y) I_1(2√(a_n t y)).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import Count, Numbers
from ..._numerics import checked
from ._goursat import bessel_i, by_bessel, by_volterra, number_of_modes


@checked
def lost_in_the_middle(
    t: Numbers,
    beta: Numbers,
    lam: Numbers,
    M: float | int,
    sigma0: Numbers,
    *,
    method: Literal["bessel", "volterra"] = "bessel",
    terms: Count | None = None,
) -> Float[Array, "..."]:
    r"""The retrieval profile S(σ₀) = Σ_{n≥1} e^{−π²n²/2M²} Ĝ_n(t, 1; σ₀).

    The last token decodes at time t to the initial token at position σ₀ with probability
    √(π/2)/M + √(2π) S(σ₀)/(MN) + o(1/N). For λ > 0 the profile is U-shaped as long as
    t sup_n n² I_n(β) is at most 3 − √3 and 2(1 − e^{−λ}); at λ = 0 it falls all the way.

    **Arguments:**

    - `t`, `beta`, `lam`, `sigma0`: time, inverse temperature β ≥ 0, recency λ (0 and negative
      too) and position in (0, 1], numbers or arrays that broadcast. S is infinite at σ₀ = 0.
    - `M`: size of the vocabulary, a Python number.
    - `method`: "bessel", the closed form, or "volterra", the integral equation solved in σ by
      Chebyshev collocation and in t exactly; a check of each other.
    - `terms`: how many modes n; `None` takes all that matter in float64.

    **Returns:** S, of the broadcast shape.

    !!! example

        `fm.lost_in_the_middle(1.0, 1.0, 1.0, 8, 1.0)`
    """
    terms = _check_vocabulary(M, beta, terms)
    modes = retrieval_modes(t, beta, lam, sigma0, terms, method=method)
    n = np.arange(1, terms + 1)
    return jnp.sum(jnp.asarray(np.exp(-((np.pi * n / float(M)) ** 2) / 2), modes.dtype) * modes, -1)


@checked
def retrieval_modes(
    t: Numbers,
    beta: Numbers,
    lam: Numbers,
    sigma0: Numbers,
    terms: Count,
    *,
    method: Literal["bessel", "volterra"] = "bessel",
) -> Float[Array, "... n"]:
    r"""The modes Ĝ_1, …, Ĝ_terms of the last token, σ = 1: lim N E e^{in(θ_N(t) − θ_{σ₀N}(0))}.

    **Arguments:** as of `lost_in_the_middle`; `terms`: how many modes.

    **Returns:** of the broadcast shape of the arguments, with the modes last.

    !!! example

        `fm.retrieval_modes(1.0, 1.0, 1.0, 1.0, 4)`
    """
    if not (isinstance(terms, int) and terms >= 1):
        raise ValueError(f"`terms` is {terms!r}; give a positive number of modes.")
    if method not in ("bessel", "volterra"):
        raise ValueError(f'`method` is {method!r}; it is "bessel" or "volterra".')
    arguments = jnp.broadcast_arrays(*(jnp.asarray(a, float) for a in (t, beta, lam, sigma0)))
    profile = {"bessel": by_bessel, "volterra": by_volterra}[method]

    def one(t, beta, lam, sigma0):
        n = jnp.arange(1, terms + 1).astype(t.dtype)
        return profile(t * n**2 * bessel_i(beta, terms), lam, sigma0)

    flat = jax.vmap(one)(*(a.ravel() for a in arguments))
    return flat.reshape(*arguments[0].shape, terms)


def _check_vocabulary(M, beta, terms):
    if not float(M) > 0:
        raise ValueError(f"`M` is {M}; give the positive size of the vocabulary.")
    return number_of_modes(M, beta) if terms is None else terms

r"""How fast harmonics of the uniform state grow under attention on a sphere.

Tokens uniform on S^{d−1} stand still. As ∇_x e^{β⟨x, y⟩} = β e^{β⟨x, y⟩} P_x y, attention with
V = v I is the gradient flow of a convolution, which spherical harmonics of degree k diagonalise:
a perturbation of that degree grows at the rate

    v k(k + d − 2) Λ_k / β,   Λ_k = Γ(d/2) (2/β)^ν I_{k+ν}(β),   ν = d/2 − 1     (mean)

and, divided by Λ_0, under softmax. On the circle Λ_k = I_k(β): the rates are k² I_k(β)/β and
k² I_k(β)/(β I_0(β)).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def growth_rate(beta: Array, k: int, d: int) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The rate for softmax with V = I, and Λ_0, by which that of the mean is greater."""
    order = d / 2 - 1

    def down(ratio, n):
        # r_n = I_{ν+n}/I_{ν+n−1} = β/s with s = 2(ν + n) + β r_{n+1}; s is kept, for β may be 0.
        ratio = 2 * (order + n) + beta**2 / ratio
        return ratio, ratio

    start = k + 60 + int(d)
    n = jnp.arange(start, 0, -1).astype(beta.dtype)
    _, denominators = jax.lax.scan(down, jnp.asarray(2.0 * (order + start + 1), beta.dtype), n)
    denominators = denominators[::-1][:k]
    rate = k * (k + d - 2) / denominators[0] * jnp.prod(beta / denominators[1:])
    # Λ_0 = ₀F₁(d/2; β²/4), all of whose terms are positive.
    j = jnp.arange(0, 400).astype(beta.dtype)
    terms = jnp.cumprod(
        jnp.where(j > 0, beta**2 / 4 / (jnp.where(j > 0, j, 1) * (j + d / 2 - 1)), 1)
    )
    return rate, jnp.sum(terms)

r"""How fast harmonics of the uniform state grow under attention on a sphere.

Tokens uniform on S^{d−1} stand still. As ∇_x e^{β⟨x, y⟩} = β e^{β⟨x, y⟩} P_x y, attention with
V = v I is the gradient flow of a convolution, which spherical harmonics of degree k diagonalise:
a perturbation of that degree grows at the rate

    v k(k + d − 2) Λ_k / β,   Λ_k = Γ(d/2) (2/β)^ν I_{k+ν}(β),   ν = d/2 − 1     (mean)

and, divided by Λ_0, under softmax. On the circle Λ_k = I_k(β): the rates are k² I_k(β)/β and
k² I_k(β)/(β I_0(β)).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._numerics import bessel_ratios


def growth_rate(beta: Array, k: int, d: int) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The rate for softmax with V = I, and Λ_0, by which that of the mean is greater."""
    ratios = bessel_ratios(beta, d / 2 - 1, max(k, 2))
    # The first over β, which may be 0.
    first = 1 / (d + beta * ratios[1])
    rate = k * (k + d - 2) * first * jnp.prod(ratios[1:k])
    # Λ_0 = ₀F₁(d/2; β²/4): positive terms, enough of them up to where the sum overflows.
    j = jnp.arange(0, 640).astype(beta.dtype)
    terms = jnp.cumprod(
        jnp.where(j > 0, beta**2 / 4 / (jnp.where(j > 0, j, 1) * (j + d / 2 - 1)), 1)
    )
    return rate, jnp.sum(terms)

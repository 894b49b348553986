r"""The Hellinger–Kantorovich distance, between measures of any masses ([liero2018]).

    HK² = min ∫_0^1 ∫ ‖v‖²/α + g²/β dμ_t dt   with ∂_t μ + ∇·(μ v) = g μ
        = (4/β) max ∫ 1 − e^{−φ} dμ + ∫ 1 − e^{−ψ} dν   with φ(x) + ψ(y) ≤ ℓ(x, y),
    ℓ = −2 log cos(√(β/4α) ‖x − y‖), infinite beyond π/2.

Mass that would travel further than π √(α/β) is made and unmade in place.
"""

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Scalar
from .._numerics import jitted, safe_sqrt
from .._numerics._checks import check_positive
from ..energies._ground import flat, is_flat, shared_space, squares
from ..measures import AbstractMeasure
from ..spaces import AbstractSpace
from ._unbalanced import KullbackLeibler, relaxed


def hellinger_kantorovich(
    mu: AbstractMeasure, nu: AbstractMeasure, alpha: Scalar = 1.0, beta: Scalar = 4.0
) -> FloatScalar:
    r"""The distance HK of `WassersteinFisherRao(alpha, beta)`, whose masses needn't agree.

    Two atoms of masses a, b: HK² = (4/β)(a + b − 2√(ab) cos(√(β/4α) d)). For β → 0 and equal masses
    HK → W₂/√α, for α → 0 it is Hellinger's distance. Measures enter by their atoms, some hundreds.
    Differentiable once.

    **Arguments:** `mu`, `nu`: measures, with the masses that they have. `alpha`: α, the speed of
    transport. `beta`: β, the speed of growth.

    !!! example

        `fm.hellinger_kantorovich(mu, nu)`
    """
    space = shared_space(mu, nu)
    check_positive("alpha", alpha)
    check_positive("beta", beta)
    return _distance(mu, nu, space, alpha, beta)


@jitted
def _distance(mu, nu, space: AbstractSpace, alpha, beta):
    (x, log_a), (y, log_b) = mu.atoms(), nu.atoms()
    if is_flat(space):
        x, y = jax.vmap(flat)(x), jax.vmap(flat)(y)
    speed = jnp.sqrt(jnp.asarray(beta, log_a.dtype) / (4 * alpha))
    cost = _cost(safe_sqrt(squares(space, x, y)), speed)
    sides = ((KullbackLeibler(), jnp.exp(log_a)), (KullbackLeibler(), jnp.exp(log_b)))
    return safe_sqrt(4 / beta * relaxed(cost, *sides).value)


def _cost(distance, speed):
    angle = speed * distance
    # A distance that is NaN is not far.
    far = angle >= jnp.pi / 2
    return jnp.where(far, jnp.inf, -2 * jnp.log(jnp.cos(jnp.where(far, 0, angle))))

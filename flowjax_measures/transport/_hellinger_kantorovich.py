r"""The Hellinger–Kantorovich distance, between measures of any masses ([liero2018]).

    HK² = min ∫_0^1 ∫ ‖v‖²/α + g²/β dμ_t dt   with ∂_t μ + ∇·(μ v) = g μ
        = (4/β) max ∫ 1 − e^{−φ} dμ + ∫ 1 − e^{−ψ} dν   with φ(x) + ψ(y) ≤ ℓ(x, y),
    ℓ = −2 log cos(√(β/4α) ‖x − y‖), infinite beyond π/2.

Mass that would travel further than π √(α/β) is made and unmade in place.
"""

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, Scalar
from .._numerics import safe_sqrt
from ..energies._sinkhorn import _flat
from ..measures import AbstractMeasure
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
    """
    (x, log_a), (y, log_b) = mu.atoms(), nu.atoms()
    x, y = jax.vmap(_flat)(x), jax.vmap(_flat)(y)
    speed = jnp.sqrt(jnp.asarray(beta, x.dtype) / (4 * alpha))
    cost = jax.vmap(lambda p: jax.vmap(lambda q: _cost(p, q, speed))(y))(x)
    sides = ((KullbackLeibler(), jnp.exp(log_a)), (KullbackLeibler(), jnp.exp(log_b)))
    return safe_sqrt(4 / beta * relaxed(cost, *sides).value)


def _cost(x, y, speed):
    angle = speed * safe_sqrt(jnp.sum((x - y) ** 2))
    near = angle < jnp.pi / 2
    return jnp.where(near, -2 * jnp.log(jnp.cos(jnp.where(near, angle, 0))), jnp.inf)

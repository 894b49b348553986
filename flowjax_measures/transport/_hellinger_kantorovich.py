r"""The Hellinger–Kantorovich distance, between measures of any masses ([liero2018]).

    HK² = min ∫_0^1 ∫ ‖v‖²/α + g²/β dμ_t dt   with ∂_t μ + ∇·(μ v) = g μ
        = (4/β) max ∫ 1 − e^{−φ} dμ + ∫ 1 − e^{−ψ} dν   with φ(x) + ψ(y) ≤ ℓ(x, y),
    ℓ = −2 log cos(√(β/4α) ‖x − y‖), infinite beyond π/2.

Mass that would travel further than π √(α/β) is made and unmade in place.
"""

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import FloatScalar, Scalar
from .._numerics import checked, jitted, safe_sqrt
from .._numerics._checks import check_positive
from ..energies._ground import flat, shared_space, square, squares
from ..measures import AbstractMeasure
from ..measures._base import concrete
from ..spaces import AbstractSpace
from ..spaces._product import is_flat
from ._unbalanced import LARGEST, KullbackLeibler, host_relaxed, relaxed


@checked
def hellinger_kantorovich(
    mu: AbstractMeasure, nu: AbstractMeasure, alpha: Scalar = 1.0, beta: Scalar = 4.0
) -> FloatScalar:
    r"""The distance HK of `WassersteinFisherRao(alpha, beta)`, whose masses needn't agree.

    Two atoms of masses a, b: HK² = (4/β)(a + b − 2√(ab) cos(√(β/4α) d)). For β → 0 and equal masses
    HK → W₂/√α, for α → 0 it is Hellinger's distance. Measures enter by their atoms: where they can
    be looked at 2000 of each in 4 s, 10⁴ in the plane in 100 s, without a matrix of their costs,
    and some hundreds in compiled code. Differentiable once.

    **Arguments:** `mu`, `nu`: measures, with the masses that they have. `alpha`: α, the speed of
    transport. `beta`: β, the speed of growth.

    !!! example

        `fm.hellinger_kantorovich(mu, nu)`
    """
    space = shared_space(mu, nu)
    check_positive("alpha", alpha)
    check_positive("beta", beta)
    n, m = (len(measure.atoms()[1]) for measure in (mu, nu))
    fixed = jax.lax.stop_gradient((mu, nu, alpha, beta))
    if n * m > LARGEST and concrete(fixed):
        return _sparse_distance(mu, nu, space, alpha, beta, *_on_the_host(*fixed, space))
    return _distance(mu, nu, space, alpha, beta)


@jitted
def _distance(mu, nu, space: AbstractSpace, alpha, beta):
    (x, a), (y, b), speed = _posed(mu, nu, space, alpha, beta)
    cost = _cost(safe_sqrt(squares(space, x, y)), speed)
    return safe_sqrt(4 / beta * relaxed(cost, (KullbackLeibler(), a), (KullbackLeibler(), b)).value)


def _posed(mu, nu, space: AbstractSpace, alpha, beta):
    """Atoms and masses of both, and how much of an angle a distance is."""
    (x, log_a), (y, log_b) = mu.atoms(), nu.atoms()
    if is_flat(space):
        x, y = jax.vmap(flat)(x), jax.vmap(flat)(y)
    speed = jnp.sqrt(jnp.asarray(beta, log_a.dtype) / (4 * alpha))
    return (x, jnp.exp(log_a)), (y, jnp.exp(log_b)), speed


def _on_the_host(mu, nu, alpha, beta, space):
    """Pairs of the optimal plan, their masses, and the potentials."""
    (x, a), (y, b), speed = _posed(mu, nu, space, alpha, beta)
    pick = lambda k: jax.tree.map(lambda leaf: leaf[k], x)  # noqa: E731
    rows = lambda k: np.asarray(_rows(space, pick(k), y, speed))  # noqa: E731
    return host_relaxed(rows, (KullbackLeibler(), a), (KullbackLeibler(), b))


@jitted
def _rows(space: AbstractSpace, x, y, speed):
    return _cost(safe_sqrt(squares(space, x, y)), speed)


@jitted
def _sparse_distance(mu, nu, space: AbstractSpace, alpha, beta, i, j, mass, f, g):
    """The distance, stationary in the potentials and the plan."""
    (x, a), (y, b), speed = _posed(mu, nu, space, alpha, beta)
    here, there = (jax.tree.map(lambda z, k=k: z[k], p) for p, k in ((x, i), (y, j)))
    cost = _cost(safe_sqrt(jax.vmap(square(space))(here, there)), speed)
    moved = jnp.vdot(mass.astype(a.dtype), cost - jax.lax.stop_gradient(cost))
    law, f, g = KullbackLeibler(), f.astype(a.dtype), g.astype(a.dtype)
    return safe_sqrt(4 / beta * (law.dual(f, a) + law.dual(g, b) + moved))


def _cost(distance, speed):
    angle = speed * distance
    # A distance that is NaN is not far.
    far = angle >= jnp.pi / 2
    return jnp.where(far, jnp.inf, -2 * jnp.log(jnp.cos(jnp.where(far, 0, angle))))

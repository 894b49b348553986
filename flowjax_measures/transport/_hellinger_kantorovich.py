r"""The Hellinger–Kantorovich distance, between measures of any masses ([liero2018]).

    HK² = min ∫_0^1 ∫ ‖v‖²/α + g²/β dμ_t dt   with ∂_t μ + ∇·(μ v) = g μ
        = (4/β) max ∫ 1 − e^{−φ} dμ + ∫ 1 − e^{−ψ} dν   with φ(x) + ψ(y) ≤ ℓ(x, y),
    ℓ = −2 log cos(√(β/4α) ‖x − y‖), infinite beyond π/2.

Mass that would travel further than π √(α/β) is made and unmade in place.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from ..energies._sinkhorn import _flat
from ..measures import AbstractMeasure
from ..spaces._euclidean import safe_sqrt

_MAX_STEPS = 200


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
    a, b = jnp.exp(log_a), jnp.exp(log_b)
    phi, psi, plan = jax.lax.stop_gradient(_dual(*jax.lax.stop_gradient((cost, a, b))))
    # The optimum is stationary: the masses and, through the plan, the costs have the derivative.
    value = jnp.vdot(a, -jnp.expm1(-phi)) + jnp.vdot(b, -jnp.expm1(-psi))
    near = jnp.isfinite(cost)
    moved = jnp.where(near, cost - jax.lax.stop_gradient(cost), 0)
    return safe_sqrt(4 / beta * (value + jnp.vdot(plan, moved)))


def _cost(x, y, speed):
    angle = speed * safe_sqrt(jnp.sum((x - y) ** 2))
    near = angle < jnp.pi / 2
    return jnp.where(near, -2 * jnp.log(jnp.cos(jnp.where(near, angle, 0))), jnp.inf)


def _dual(cost: Float[Array, "n m"], a: Float[Array, " n"], b: Float[Array, " m"]):
    """φ, ψ and the plan π, by a primal-dual interior point method.

    a e^{−φ} = Σ_j π, b e^{−ψ} = Σ_i π, π s = m with the slack s = ℓ − φ − ψ > 0 and m → 0.
    """
    near = jnp.isfinite(cost)
    cost = jnp.where(near, cost, 1)
    eps = jnp.finfo(cost.dtype).eps
    mass = jnp.sum(a) + jnp.sum(b)
    tolerance = jnp.maximum(1e-13, 10 * eps) * mass

    def slack(phi, psi):
        return cost - phi[:, None] - psi

    def advance(carry):
        count, phi, psi, plan, old = carry
        s = slack(phi, psi)
        gap = jnp.vdot(plan, s)
        target = jnp.where(near, 0.1 * gap / jnp.maximum(jnp.sum(near, dtype=a.dtype), 1), 0)
        weight, pull = plan / s, target / s
        u, v = a * jnp.exp(-phi), b * jnp.exp(-psi)
        tiny = eps * mass
        rows = jnp.diag(u + jnp.sum(weight, 1) + tiny)
        columns = jnp.diag(v + jnp.sum(weight, 0) + tiny)
        right = jnp.concatenate([u - jnp.sum(pull, 1), v - jnp.sum(pull, 0)])
        moves = jnp.linalg.solve(jnp.block([[rows, weight], [weight.T, columns]]), right)
        d_phi, d_psi = moves[: len(a)], moves[len(a) :]
        d_slack = -d_phi[:, None] - d_psi
        d_plan = jnp.where(near, pull - plan - weight * d_slack, 0)
        step = 0.95 * jnp.minimum(_room(s, d_slack, near), _room(plan, d_plan, near))
        step = jnp.minimum(step, 1)
        new = phi + step * d_phi, psi + step * d_psi, plan + step * d_plan
        wrong = jnp.sum(jnp.abs(a * jnp.exp(-new[0]) - jnp.sum(new[2], 1)))
        wrong = wrong + jnp.sum(jnp.abs(b * jnp.exp(-new[1]) - jnp.sum(new[2], 0)))
        # The value is stationary: a wrong marginal counts by its square.
        error = jnp.vdot(new[2], slack(*new[:2])) + 1e-3 * wrong
        # At round-off the system is singular: the last step that was better stays.
        better = (error < old) | (error > 10 * tolerance)
        kept = jax.tree.map(lambda p, q: jnp.where(better, p, q), new, (phi, psi, plan))
        return count + 1, *kept, jnp.where(better, error, 0)

    plan = jnp.where(near, a[:, None] * b / mass + eps * mass, 0)
    start = (0, jnp.full_like(a, -1), jnp.full_like(b, -1), plan, jnp.full((), jnp.inf, a.dtype))
    _, phi, psi, plan, _ = jax.lax.while_loop(
        lambda c: (c[0] < _MAX_STEPS) & (c[4] > tolerance), advance, start
    )
    # An atom without a neighbour is unmade: φ grows by one in a step for ever.
    alone = lambda near, p: jnp.where(jnp.any(near, axis=1), p, jnp.inf)  # noqa: E731
    return alone(near, phi), alone(near.T, psi), plan


def _room(value, move, near):
    """The step at which the first positive entry would become zero."""
    falls = near & (move < 0)
    return jnp.min(jnp.where(falls, value / jnp.where(falls, -move, 1), jnp.inf), initial=jnp.inf)

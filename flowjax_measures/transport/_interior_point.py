r"""Transport between relaxed marginals, by a primal-dual interior point method.

    max_{f, g} −ψ₁*(−f) − ψ₂*(−g)   with f_i + g_j ≤ c_ij

For a plan π with the marginals −∇ψ*(−f): the system of π s = m, s = c − f − g > 0, with m → 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_MAX_STEPS = 1000


def optimal_potentials(cost: Float[Array, "n m"], one: Any, two: Any):
    """f, g and the plan π for costs ≥ 0, of which some may be infinite.

    `one`, `two`: the marginals' laws, with `total` mass, `demand(f)`, the marginal that belongs to
    the potential f, `stiffness(f)`, minus its derivative, and `reach`, how far f may fall at once.
    """
    a, b = one.total, two.total
    # Atoms of mass zero take no part; NaN is not far.
    given, held = cost, (a != 0)[:, None] & (b != 0)
    near = ~jnp.isposinf(cost) & held
    cost = jnp.where(near, cost, 1)
    eps = jnp.finfo(cost.dtype).eps
    mass = jnp.sum(a) + jnp.sum(b)
    tolerance = jnp.maximum(1e-13, 10 * eps) * mass * jnp.maximum(1, jnp.max(cost))

    def slack(f, g):
        return cost - f[:, None] - g

    def advance(carry):
        count, f, g, plan, old = carry
        s = slack(f, g)
        gap = jnp.vdot(plan, s)
        target = jnp.where(near, 0.1 * gap / jnp.maximum(jnp.sum(near, dtype=a.dtype), 1), 0)
        weight, pull = plan / s, target / s
        u, v = one.demand(f), two.demand(g)
        tiny = eps * mass
        rows = jnp.diag(one.stiffness(f) + jnp.sum(weight, 1) + tiny)
        columns = jnp.diag(two.stiffness(g) + jnp.sum(weight, 0) + tiny)
        right = jnp.concatenate([u - jnp.sum(pull, 1), v - jnp.sum(pull, 0)])
        moves = jnp.linalg.solve(jnp.block([[rows, weight], [weight.T, columns]]), right)
        d_f, d_g = moves[: len(a)], moves[len(a) :]
        d_slack = -d_f[:, None] - d_g
        d_plan = jnp.where(near, pull - plan - weight * d_slack, 0)
        step = 0.95 * jnp.minimum(_room(s, d_slack, near), _room(plan, d_plan, near))
        # An exponential is followed no further than it is nearly straight.
        falls = [side.reach / jnp.maximum(-jnp.min(d), eps) for side, d in ((one, d_f), (two, d_g))]
        step = jnp.minimum(step, jnp.minimum(1, jnp.minimum(*falls)))
        new = f + step * d_f, g + step * d_g, plan + step * d_plan
        wrong = jnp.sum(jnp.abs(one.demand(new[0]) - jnp.sum(new[2], 1)))
        wrong = wrong + jnp.sum(jnp.abs(two.demand(new[1]) - jnp.sum(new[2], 0)))
        # The value is stationary: a wrong marginal counts by its square.
        error = jnp.vdot(new[2], slack(*new[:2])) + 1e-3 * wrong
        # At round-off the system is singular: the last step that was better stays.
        better = (error < old) | (error > 10 * tolerance)
        kept = jax.tree.map(lambda p, q: jnp.where(better, p, q), new, (f, g, plan))
        return count + 1, *kept, jnp.where(better, error, 0)

    plan = jnp.where(near, a[:, None] * b / mass + eps * mass, 0)
    # Below every cost, and no lower than demands stay of the size of the masses.
    f, g = (-jnp.minimum(jnp.ones_like(side.total), side.reach) for side in (one, two))
    start = (0, f, g, plan, jnp.full((), jnp.inf, a.dtype))
    _, f, g, plan, _ = jax.lax.while_loop(
        lambda c: (c[0] < _MAX_STEPS) & (c[4] > tolerance), advance, start
    )
    # What has not converged is no answer.
    wrong = jnp.sum(jnp.abs(one.demand(f) - jnp.sum(plan, 1)))
    wrong = wrong + jnp.sum(jnp.abs(two.demand(g) - jnp.sum(plan, 0)))
    solved = jnp.vdot(plan, slack(f, g)) + wrong < jnp.sqrt(tolerance * mass)
    plan = jnp.where(solved, plan, jnp.nan)
    f, g = (jnp.where(solved, p, jnp.nan) for p in (f, g))
    # An atom without a neighbour is unmade: f grows for ever. One without mass has the potential
    # that the others leave it.
    alone = lambda near, p: jnp.where(jnp.any(near, axis=1), p, jnp.inf)  # noqa: E731
    f, g = alone(near, f), alone(near.T, g)
    left = lambda cost, p: jnp.min(cost - jnp.where(jnp.isposinf(p), -jnp.inf, p), axis=1)  # noqa: E731
    return jnp.where(a == 0, left(given, g), f), jnp.where(b == 0, left(given.T, f), g), plan


def _room(value, move, near):
    """The step at which the first positive entry would become zero."""
    falls = near & (move < 0)
    return jnp.min(jnp.where(falls, value / jnp.where(falls, -move, 1), jnp.inf), initial=jnp.inf)

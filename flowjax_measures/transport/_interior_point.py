r"""Transport between relaxed marginals, by a primal-dual interior point method.

    max_{f, g} −ψ₁*(−f) − ψ₂*(−g)   with f_i + g_j ≤ c_ij

For a plan π with the marginals −∇ψ*(−f): the system of π s = m, s = c − f − g > 0, with m → 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_MAX_STEPS = 1000
# Steps without a smaller error after which round-off is all that is left.
_PATIENCE = 10


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

    def demands(f, g):
        # An atom without a neighbour is unmade, and its potential has no end.
        u, v = one.demand(f), two.demand(g)
        return jnp.where(jnp.any(near, axis=1), u, 0), jnp.where(jnp.any(near, axis=0), v, 0)

    def missed(f, g, plan):
        """What the plan's marginals are off."""
        u, v = demands(f, g)
        wrong = jnp.sum(jnp.abs(u - jnp.sum(plan, 1))) + jnp.sum(jnp.abs(v - jnp.sum(plan, 0)))
        return jnp.vdot(plan, slack(f, g)), wrong

    def advance(carry):
        count, stale, (f, g, plan), best, least = carry
        s = slack(f, g)
        # Far below the tolerance the weights would drown the stiffness that all hangs on.
        gap = jnp.maximum(jnp.vdot(plan, s), tolerance)
        target = jnp.where(near, 0.1 * gap / jnp.maximum(jnp.sum(near, dtype=a.dtype), 1), 0)
        weight, pull = plan / s, target / s
        u, v = demands(f, g)
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
        # The value is stationary: a wrong marginal counts by its square.
        gap, wrong = missed(*new)
        error = gap + 1e-3 * wrong
        # At round-off the system is singular: the best that was seen stays.
        better = error < least
        best = jax.tree.map(lambda p, q: jnp.where(better, p, q), new, best)
        stale = jnp.where(better, 0, jnp.where(jnp.isnan(error), _PATIENCE, stale + 1))
        return count + 1, stale, new, best, jnp.where(better, error, least)

    def unsolved(carry):
        count, stale, _, _, least = carry
        return (count < _MAX_STEPS) & (stale < _PATIENCE) & (least > tolerance)

    plan = jnp.where(near, a[:, None] * b / mass + eps * mass, 0)
    # Below every cost, and no lower than demands stay of the size of the masses.
    f, g = (-jnp.minimum(jnp.ones_like(side.total), side.reach) for side in (one, two))
    start = f, g, plan
    begin = 0, jnp.asarray(0), start, start, jnp.full((), jnp.inf, a.dtype)
    _, _, _, (f, g, plan), _ = jax.lax.while_loop(unsolved, advance, begin)
    # What has not converged is no answer.
    solved = sum(missed(f, g, plan)) < jnp.sqrt(tolerance * mass)
    plan = jnp.where(solved, plan, jnp.nan)
    f, g = (jnp.where(solved, p, jnp.nan) for p in (f, g))
    # One without mass has the potential that the others leave it.
    alone = lambda near, p: jnp.where(jnp.any(near, axis=1), p, jnp.inf)  # noqa: E731
    f, g = alone(near, f), alone(near.T, g)
    left = lambda cost, p: jnp.min(cost - jnp.where(jnp.isposinf(p), -jnp.inf, p), axis=1)  # noqa: E731
    return jnp.where(a == 0, left(given, g), f), jnp.where(b == 0, left(given.T, f), g), plan


def _room(value, move, near):
    """The step at which the first positive entry would become zero."""
    falls = near & (move < 0)
    return jnp.min(jnp.where(falls, value / jnp.where(falls, -move, 1), jnp.inf), initial=jnp.inf)

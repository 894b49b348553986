r"""Entropic transport between many atoms, in memory that is linear in their number.

    f(x) = −ε log ∫ e^{(g(y) − ‖x−y‖²)/ε} ν(dy),   g(y) = −ε log ∫ e^{(f(x) − ‖x−y‖²)/ε} μ(dx)

as in `_schrodinger`, where the matrix of costs is never formed: sums over pairs of points or of
cells are those of `_pairs`. With the means R over ν and C over μ under the plan, Newton's step and
the derivative of the potentials solve systems with I − RC, symmetric between √μ. Newton's method
starts from the potentials of some hundred atoms of each, or from large ε.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._custom_types import FloatScalar
from .._numerics import conjugate_gradients
from ._pairs import AbstractPairs, Clouds
from ._schrodinger import _ANNEALING, _NEAR, _accepted, _tolerance, balanced

# Beyond this many pairs the matrix of costs is not formed: a third of the time, but 256 MB in
# float64, of which Newton's method holds three or four.
LARGEST = 2**25
_STEPS, _CG_STEPS = 100, 1000


def streamed_potentials(x, log_a, y, log_b, epsilon, sharding=None) -> tuple[Array, Array]:
    """As `_schrodinger.potentials`."""
    pairs, (tilt_f, tilt_g) = _centred(x, log_a, y, log_b, sharding)
    f, g = pairs_potentials(pairs, log_a, log_b, epsilon)
    return balanced(f + tilt_f, g + tilt_g, log_a, log_b)


def streamed_cost(x, log_a, y, log_b, epsilon, sharding=None) -> FloatScalar:
    """OT_ε(μ, ν) of normalised weights, with derivatives of every order."""
    pairs, (tilt_f, tilt_g) = _centred(x, log_a, y, log_b, sharding)
    moved = jnp.vdot(jnp.exp(log_a), tilt_f) + jnp.vdot(jnp.exp(log_b), tilt_g)
    return pairs_cost(pairs, log_a, log_b, epsilon) + moved


def _centred(x, log_a, y, log_b, sharding):
    """The clouds about one centre, and what that leaves out of ‖x − y‖²."""
    m, n = jax.lax.stop_gradient((jnp.exp(log_a) @ x, jnp.exp(log_b) @ y))
    x, y, shift = x - m, y - n, m - n
    half = jnp.vdot(shift, shift) / 2
    return Clouds(x, y, sharding), (2 * x @ shift + half, half - 2 * y @ shift)


@jax.custom_jvp
def pairs_potentials(
    pairs: AbstractPairs, log_a: Array, log_b: Array, epsilon: FloatScalar
) -> tuple[Array, Array]:
    """The potentials (f, g) of pairs of atoms, up to a constant; NaN if not found."""
    a, turned = jnp.exp(log_a), pairs.turned()
    tolerance = _tolerance(pairs.top(log_a, log_b), epsilon)

    def swept(f, level):
        def sweep(_, carry):
            f = carry[2]
            g = turned.softmin(log_a, f, level)
            return f, g, pairs.softmin(log_b, g, level)

        return jax.lax.fori_loop(0, 2, sweep, (f, jnp.zeros_like(log_b), f))

    def newton(carry):
        count, f, level, _ = carry
        f, g, pull = swept(f, level)
        # The plan's columns are right, its rows hold r in place of a.
        r = a * jnp.exp((f - pull) / level)
        error = jnp.sum(jnp.abs(a - r))
        root = jnp.sqrt(jnp.maximum(r, jnp.finfo(r.dtype).tiny))
        operator, project = _beside(between(pairs, log_a, f, log_b, g, level, root), root)
        right = project((a - r) / root)
        move = conjugate_gradients(operator, right, jnp.minimum(0.1, error), _CG_STEPS) / root
        far = jnp.max(jnp.where(a > 0, move, -jnp.inf)) - jnp.min(jnp.where(a > 0, move, jnp.inf))
        step = jnp.where(far > 1e-8, jnp.log1p(far) / far, 1)
        down = (error < _NEAR) & (level > epsilon)
        lower = jnp.where(down, jnp.maximum(level * _ANNEALING, epsilon), level)
        return count + 1, f + level * step * move, lower, jnp.where(down, jnp.inf, error)

    start = (0, *pairs.begin(log_a, log_b, epsilon), jnp.full((), jnp.inf, a.dtype))
    further = lambda c: (c[0] < _STEPS) & ~(c[3] <= tolerance)  # noqa: E731
    _, f, _, error = jax.lax.while_loop(further, newton, start)
    f, g, _ = swept(f, epsilon)
    solved = error <= _accepted(tolerance)
    return jnp.where(solved, f, jnp.nan), jnp.where(solved, g, jnp.nan)


def between(pairs, log_a, f, log_b, g, epsilon, root):
    """√r R C /√r for a plan with the marginals r and b."""

    over_mu, over_nu = pairs.turned().means(log_a, f, epsilon), pairs.means(log_b, g, epsilon)

    def apply(s):
        value = jnp.where(root > 0, s / jnp.where(root > 0, root, 1), 0)
        return root * over_nu(over_mu(value))

    return apply


def _beside(apply, q):
    """I − S, positive also on its kernel q, and the projection onto the complement of q."""
    q = q / jnp.linalg.norm(q)
    return lambda s: s - apply(s) + q * jnp.vdot(q, s), lambda s: s - q * jnp.vdot(q, s)


@pairs_potentials.defjvp
def _potentials_jvp(primals, tangents):
    pairs, log_a, log_b, epsilon = primals
    f, g = pairs_potentials(*primals)

    def residual(pairs, log_a, log_b, epsilon):
        return pairs.softmin(log_b, g, epsilon), pairs.turned().softmin(log_a, f, epsilon)

    _, (move_f, move_g) = jax.jvp(residual, primals, tangents)
    root = jnp.exp(log_a / 2)
    right = root * (move_f - pairs.moved(log_b, g, epsilon, move_g))
    operator, project = _beside(between(pairs, log_a, f, log_b, g, epsilon, root), root)
    tolerance = 10 * float(jnp.finfo(f.dtype).eps)
    solve = lambda operator, b: conjugate_gradients(operator, b, tolerance, _CG_STEPS)  # noqa: E731
    s = jax.lax.custom_linear_solve(operator, project(right), solve, symmetric=True)
    value = jnp.where(root > 0, s / jnp.where(root > 0, root, 1), 0)
    # One step of Sinkhorn gives both tangents, also at atoms without mass.
    g_dot = move_g - pairs.turned().moved(log_a, f, epsilon, value)
    f_dot = move_f - pairs.moved(log_b, g, epsilon, g_dot)
    return (f, g), (f_dot, g_dot)


@jax.custom_jvp
def pairs_cost(
    pairs: AbstractPairs, log_a: Array, log_b: Array, epsilon: FloatScalar
) -> FloatScalar:
    """OT_ε of pairs of atoms."""
    f, g = pairs_potentials(pairs, log_a, log_b, epsilon)
    return jnp.vdot(jnp.exp(log_a), f) + jnp.vdot(jnp.exp(log_b), g)


def _dual(pairs, log_a, log_b, epsilon, f, g):
    a = jnp.exp(log_a)
    mass = jnp.vdot(a, jnp.exp((f - pairs.softmin(log_b, g, epsilon)) / epsilon))
    return jnp.vdot(a, f) + jnp.vdot(jnp.exp(log_b), g) - epsilon * (mass - 1)


@pairs_cost.defjvp
def _cost_jvp(primals, tangents):
    # The dual is stationary in the potentials, which keep their derivative for the next order.
    f, g = pairs_potentials(*primals)
    value = jnp.vdot(jnp.exp(primals[1]), f) + jnp.vdot(jnp.exp(primals[2]), g)
    return value, jax.jvp(partial(_dual, f=f, g=g), primals, tangents)[1]

r"""Entropic transport between many atoms in flat space, in memory that is linear in their number.

    f(x) = −ε log ∫ e^{(g(y) − ‖x−y‖²)/ε} ν(dy),   g(y) = −ε log ∫ e^{(f(x) − ‖x−y‖²)/ε} μ(dx)

as in `_schrodinger`, where the matrix of costs is never formed: all sums over pairs are tilted
means. With the means R over ν and C over μ under the plan, Newton's step and the derivative of the
potentials solve systems with I − RC, symmetric between √μ. Newton's method starts from the
potentials of some hundred atoms of each, drawn evenly in their masses.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._reduce import tilted_mean
from ._schrodinger import _accepted, _tolerance, balanced, cost_potentials, squared_distances

# Beyond this many pairs the matrix of costs is not formed: 64 MB in float64.
LARGEST = 2**23
_SAMPLE, _STEPS, _CG_STEPS = 512, 60, 1000


def streamed_potentials(x, log_a, y, log_b, epsilon) -> tuple[Array, Array]:
    """As `_schrodinger.potentials`."""
    (x, y), (tilt_f, tilt_g) = _centred(x, log_a, y, log_b)
    f, g = _potentials(x, log_a, y, log_b, epsilon)
    return balanced(f + tilt_f, g + tilt_g, log_a, log_b)


def streamed_cost(x, log_a, y, log_b, epsilon) -> FloatScalar:
    """OT_ε(μ, ν) of normalised weights, with derivatives of every order."""
    (x, y), (tilt_f, tilt_g) = _centred(x, log_a, y, log_b)
    moved = jnp.vdot(jnp.exp(log_a), tilt_f) + jnp.vdot(jnp.exp(log_b), tilt_g)
    return _cost(x, log_a, y, log_b, epsilon) + moved


def _centred(x, log_a, y, log_b):
    """The clouds about one centre, and what that leaves out of ‖x − y‖²."""
    m, n = jax.lax.stop_gradient((jnp.exp(log_a) @ x, jnp.exp(log_b) @ y))
    x, y, shift = x - m, y - n, m - n
    half = jnp.vdot(shift, shift) / 2
    return (x, y), (2 * x @ shift + half, half - 2 * y @ shift)


def _softmin(x, y, log_b, g, epsilon) -> Float[Array, " n"]:
    return _means(x, y, log_b, g, epsilon, jnp.ones_like(g))[1]


def _means(x, y, log_b, g, epsilon, values) -> tuple[Array, Array]:
    """At each x the mean of values over y under the plan, and the soft minimum of c − g."""

    def one(x):
        logits = lambda atom: (atom[1] - jnp.sum((x - atom[0]) ** 2)) / epsilon  # noqa: E731
        mean, log = tilted_mean(lambda atom: atom[2], logits, (y, g, values), log_b)
        return mean, -epsilon * log

    return jax.vmap(one)(x)


def _moved(x, y, log_b, g, epsilon, values) -> Float[Array, " n"]:
    """The same mean as the derivative of the soft minimum, which is linear to JAX as well."""
    return -jax.jvp(lambda g: _softmin(x, y, log_b, g, epsilon), (g,), (values,))[1]


@jax.custom_jvp
def _potentials(x, log_a, y, log_b, epsilon):
    a = jnp.exp(log_a)
    spread = jnp.max(x, axis=0) - jnp.min(x, axis=0) + jnp.max(y, axis=0) - jnp.min(y, axis=0)
    tolerance = _tolerance(jnp.sum(spread**2), epsilon)

    def newton(carry):
        count, f, _ = carry
        g = _softmin(y, x, log_a, f, epsilon)
        pull = _softmin(x, y, log_b, g, epsilon)
        # The plan's columns are right, its rows hold r in place of a.
        r = a * jnp.exp((f - pull) / epsilon)
        error = jnp.sum(jnp.abs(a - r))
        root = jnp.sqrt(jnp.maximum(r, jnp.finfo(r.dtype).tiny))
        operator = _between(x, log_a, f, y, log_b, g, epsilon, root)
        move = _project_solve(operator, root, (a - r) / root, jnp.minimum(0.1, error)) / root
        far = jnp.max(jnp.where(a > 0, move, -jnp.inf)) - jnp.min(jnp.where(a > 0, move, jnp.inf))
        step = jnp.where(far > 1e-8, jnp.log1p(far) / far, 1)
        f = f + epsilon * step * move
        f = _softmin(x, y, log_b, _softmin(y, x, log_a, f, epsilon), epsilon)
        return count + 1, f, error

    start = (0, _start(x, log_a, y, log_b, epsilon), jnp.full((), jnp.inf, a.dtype))
    further = lambda c: (c[0] < _STEPS) & ~(c[2] <= tolerance)  # noqa: E731
    _, f, error = jax.lax.while_loop(further, newton, start)
    g = _softmin(y, x, log_a, f, epsilon)
    solved = error <= _accepted(tolerance)
    return jnp.where(solved, f, jnp.nan), jnp.where(solved, g, jnp.nan)


def _start(x, log_a, y, log_b, epsilon):
    """f at all atoms by the potentials of a few."""

    def few(points, log_w):
        size = min(_SAMPLE, len(points))
        ladder = (jnp.arange(size, dtype=log_w.dtype) + 0.5) / size
        index = jnp.searchsorted(jnp.cumsum(jnp.exp(log_w)), ladder)
        return points[jnp.minimum(index, len(points) - 1)]

    p, q = few(x, log_a), few(y, log_b)
    even_p, even_q = (jnp.full(len(z), -jnp.log(float(len(z))), log_a.dtype) for z in (p, q))
    _, g = cost_potentials(squared_distances(p, q), even_p, even_q, epsilon)
    return _softmin(x, q, even_q, jnp.where(jnp.isfinite(g), g, 0), epsilon)


def _between(x, log_a, f, y, log_b, g, epsilon, root):
    """√r R C /√r for a plan with the marginals r and b."""

    def apply(s):
        value = jnp.where(root > 0, s / jnp.where(root > 0, root, 1), 0)
        over_mu = _means(y, x, log_a, f, epsilon, value)[0]
        return root * _means(x, y, log_b, g, epsilon, over_mu)[0]

    return apply


def _project_solve(between, q, right, tolerance):
    """(I − S)⁺ right on the complement of q, the kernel."""
    q = q / jnp.linalg.norm(q)
    operator = lambda s: s - between(s) + q * jnp.vdot(q, s)  # noqa: E731
    right = right - q * jnp.vdot(q, right)
    solve = lambda _, b: cg(operator, b, tol=tolerance, maxiter=_CG_STEPS)[0]  # noqa: E731
    return jax.lax.custom_linear_solve(operator, right, solve, symmetric=True)


@_potentials.defjvp
def _potentials_jvp(primals, tangents):
    x, log_a, y, log_b, epsilon = primals
    f, g = _potentials(*primals)

    def residual(x, log_a, y, log_b, epsilon):
        return _softmin(x, y, log_b, g, epsilon), _softmin(y, x, log_a, f, epsilon)

    _, (move_f, move_g) = jax.jvp(residual, primals, tangents)
    root = jnp.exp(log_a / 2)
    right = root * (move_f - _moved(x, y, log_b, g, epsilon, move_g))
    operator = _between(x, log_a, f, y, log_b, g, epsilon, root)
    s = _project_solve(operator, root, right, 10 * float(jnp.finfo(f.dtype).eps))
    value = jnp.where(root > 0, s / jnp.where(root > 0, root, 1), 0)
    # One step of Sinkhorn gives both tangents, also at atoms without mass.
    g_dot = move_g - _moved(y, x, log_a, f, epsilon, value)
    f_dot = move_f - _moved(x, y, log_b, g, epsilon, g_dot)
    return (f, g), (f_dot, g_dot)


@jax.custom_jvp
def _cost(x, log_a, y, log_b, epsilon) -> FloatScalar:
    f, g = _potentials(x, log_a, y, log_b, epsilon)
    return jnp.vdot(jnp.exp(log_a), f) + jnp.vdot(jnp.exp(log_b), g)


def _dual(x, log_a, y, log_b, epsilon, f, g):
    a = jnp.exp(log_a)
    mass = jnp.vdot(a, jnp.exp((f - _softmin(x, y, log_b, g, epsilon)) / epsilon))
    return jnp.vdot(a, f) + jnp.vdot(jnp.exp(log_b), g) - epsilon * (mass - 1)


@_cost.defjvp
def _cost_jvp(primals, tangents):
    # The dual is stationary in the potentials, which keep their derivative for the next order.
    f, g = _potentials(*primals)
    value = jnp.vdot(jnp.exp(primals[1]), f) + jnp.vdot(jnp.exp(primals[3]), g)
    return value, jax.jvp(partial(_dual, f=f, g=g), primals, tangents)[1]

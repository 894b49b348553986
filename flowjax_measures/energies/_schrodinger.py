r"""Entropic transport between weighted atoms, with its true derivative.

    OT_ε(μ, ν) = min_π ∫ c dπ + ε KL(π | μ⊗ν) = ∫ f dμ + ∫ g dν,
    f(x) = −ε log ∫ e^{(g(y) − c(x,y))/ε} ν(dy),   g(y) = −ε log ∫ e^{(f(x) − c(x,y))/ε} μ(dx),

for a matrix of costs, as a rule ‖x − y‖².

The Schrödinger potentials are found by annealed Sinkhorn steps and then by Newton's method on
the semi-dual, whose damped step log(1 + d)/d descends from anywhere, because a log-sum-exp is
self-concordant. Their derivative is that of the fixed point: with M_ij = π_ij / √(a_i b_j) the
linear system is I − M Mᵀ, symmetric, semidefinite, with the constants as its kernel; conjugate
gradients solve it, and `custom_linear_solve` makes that differentiable in both modes, again and
again. Freezing the potentials gives wrong derivatives of anything but the value.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import in_full_precision

_ANNEALING = 0.25
# A level is left when its marginals are wrong by this much in total variation.
_NEAR = 0.05
# More than this of the mass at wrong places, before the last step, is no plan.
_WORST = 0.01
_NEWTON_STEPS = 100
_CG_STEPS = 1000


def squared_distances(x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """‖x_i − y_j‖² by differences: expanding the square loses half of the digits."""
    return jnp.sum((x[:, None, :] - y[None, :, :]) ** 2, axis=-1)


def _softmin(cost, epsilon, log_weights, potential, axis):
    shape = (1, -1) if axis == 1 else (-1, 1)
    # The difference first: of its terms, divided by a small ε, few digits are left.
    tilt = (potential.reshape(shape) - cost) / epsilon + log_weights.reshape(shape)
    return -epsilon * jax.nn.logsumexp(tilt, axis=axis)


def potentials(x, log_a, y, log_b, epsilon, start=None):
    """The potentials (f, g) of the cost ‖x − y‖² at the atoms, with ∫ f dμ = ∫ g dν.

    **Arguments:** `x` (n, d) and `y` (m, d) atoms, `log_a` (n,) and `log_b` (m,) logarithms of
    their normalised weights, `epsilon` the regularisation; `start` a guess of f, without which ε
    is annealed. NaN where Newton's method failed.
    """
    near, (tilt_f, tilt_g) = centred(x, log_a, y, log_b)
    start = None if start is None else start - tilt_f
    f, g = cost_potentials(near, log_a, log_b, epsilon, start)
    return balanced(f + tilt_f, g + tilt_g, log_a, log_b)


def centred(x, log_a, y, log_b):
    """The costs of clouds about one centre, and what that leaves out: a function of x and of y.

    ‖x − y‖² = ‖x′ − y′‖² + 2⟨δ, x′ − y′⟩ + ‖δ‖² with x′ = x − m, y′ = y − n and δ = m − n; far from
    each other the clouds' own shapes are the last digits of ‖x − y‖², and the first of ‖x′ − y′‖².
    """
    m, n = jax.lax.stop_gradient((jnp.exp(log_a) @ x, jnp.exp(log_b) @ y))
    x, y, shift = x - m, y - n, m - n
    half = jnp.vdot(shift, shift) / 2
    return squared_distances(x, y), (2 * x @ shift + half, half - 2 * y @ shift)


def balanced(f, g, log_a, log_b):
    """The potentials with ∫ f dμ = ∫ g dν, of all that differ by constants."""
    gap = (jnp.vdot(jnp.exp(log_a), f) - jnp.vdot(jnp.exp(log_b), g)) / 2
    return f - gap, g + gap


def cost_potentials(cost, log_a, log_b, epsilon, start=None):
    """The potentials (f, g) of a matrix of costs, up to a constant; as `potentials`."""
    return _potentials(cost, log_a, log_b, epsilon, start)


@jax.custom_jvp
def _potentials(cost, log_a, log_b, epsilon, guess):
    a, b = jnp.exp(log_a), jnp.exp(log_b)
    # Atoms without mass must not set the scale.
    held = (a > 0)[:, None] & (b > 0)
    low = jnp.min(jnp.where(held, cost, jnp.inf))
    top = jnp.max(jnp.where(held, cost - low, 0))
    tolerance = _tolerance(top, epsilon)

    def plan(level, f):
        """The plan over √b and its first marginal; the second is exact."""
        g = _softmin(cost, level, log_a, f, 0)
        scaled = jnp.exp(_tilt(cost, level, log_a, log_b / 2, f, g))
        return scaled, scaled @ jnp.sqrt(b)

    def newton(carry):
        count, level, f, _ = carry
        scaled, r = plan(level, f)
        error = jnp.sum(jnp.abs(a - r))
        root = jnp.sqrt(jnp.maximum(r, jnp.finfo(r.dtype).tiny))
        matrix = scaled / root[:, None]
        move = _project_solve(matrix, root, (a - r) / root, jnp.minimum(0.1, error)) / root
        far = jnp.max(jnp.where(a > 0, move, -jnp.inf)) - jnp.min(jnp.where(a > 0, move, jnp.inf))
        step = jnp.where(far > 1e-8, jnp.log1p(far) / far, 1)
        f = f + level * step * move
        down = (error < _NEAR) & (level > epsilon)
        level = jnp.where(down, jnp.maximum(level * _ANNEALING, epsilon), level)
        f = _softmin(cost, level, log_b, _softmin(cost, level, log_a, f, 0), 1)
        return count + 1, level, f, jnp.where(down, jnp.inf, error)

    if guess is None:
        start = jnp.maximum(top, epsilon)
        f = _softmin(cost, start, log_b, jnp.zeros_like(log_b), 1)
    else:
        start, f = epsilon, guess
    # The error is that before the step: the last step squares it.
    _, _, f, error = jax.lax.while_loop(
        lambda c: (c[0] < _NEWTON_STEPS) & ~(c[3] <= tolerance),
        newton,
        (0, start, f, jnp.full((), jnp.inf, f.dtype)),
    )
    g = _softmin(cost, epsilon, log_a, f, 0)
    f = _softmin(cost, epsilon, log_b, g, 1)
    # What a column gets of each unit that it wants: round-off may leave other columns than it met.
    met = jnp.exp((g - _softmin(cost, epsilon, log_a, f, 0)) / epsilon)
    worst = jnp.max(jnp.where(b > 0, jnp.abs(met - 1), 0))
    solved = (error <= _accepted(tolerance)) & (worst <= _WORST)
    return jnp.where(solved, f, jnp.nan), jnp.where(solved, g, jnp.nan)


def _tolerance(top, epsilon):
    """What round-off of (f + g − c)/ε leaves of the marginals."""
    return jnp.finfo(top.dtype).eps * (4 + top / epsilon)


def _accepted(tolerance):
    """The error before the last step, which squares it, of marginals that count as met."""
    return jnp.minimum(jnp.sqrt(tolerance), _WORST)


def _tilt(cost, epsilon, log_a, log_b, f, g):
    return (f[:, None] - cost + g[None, :]) / epsilon + log_a[:, None] + log_b[None, :]


def _project_solve(matrix, q, right, tolerance):
    """(I − M Mᵀ)⁺ right on the complement of the unit vector q, its kernel."""
    q = q / jnp.linalg.norm(q)
    operator = lambda s: s - matrix @ (s @ matrix) + q * jnp.vdot(q, s)  # noqa: E731
    right = right - q * jnp.vdot(q, right)
    solve = lambda _, b: cg(operator, b, tol=tolerance, maxiter=_CG_STEPS)[0]  # noqa: E731
    return jax.lax.custom_linear_solve(operator, right, solve, symmetric=True)


@_potentials.defjvp
@in_full_precision
def _potentials_jvp(primals, tangents):
    cost, log_a, log_b, epsilon, _ = primals
    f, g = _potentials(*primals)
    # Where the iteration starts does not matter where it ends.
    primals, tangents = primals[:-1], tangents[:-1]

    def residual(cost, log_a, log_b, epsilon):
        return _softmin(cost, epsilon, log_b, g, 1), _softmin(cost, epsilon, log_a, f, 0)

    _, (move_f, move_g) = jax.jvp(residual, primals, tangents)
    tilt = _tilt(cost, epsilon, jnp.zeros_like(log_a), log_b / 2, f, g)
    root_a, root_b = jnp.exp(log_a / 2), jnp.exp(log_b / 2)
    scaled = jnp.exp(tilt)  # √b_j e_ij: bounded by 1/√b_j, and finite where a_i = 0.
    matrix = root_a[:, None] * scaled
    right = root_a * move_f - matrix @ (root_b * move_g)
    s = _project_solve(matrix, root_a, right, 10 * jnp.finfo(f.dtype).eps)
    # One Sinkhorn step gives both tangents, also at atoms of weight 0.
    t = root_b * move_g - s @ matrix
    f_dot = move_f - scaled @ t
    column = jnp.exp(_tilt(cost, epsilon, log_a, jnp.zeros_like(log_b), f, g))
    return (f, g), (f_dot, move_g - f_dot @ column)


def self_cost_potential(cost, log_a, epsilon, start=None):
    """The potential f = g of OT_ε(μ, μ) for a symmetric matrix of costs."""
    return _self_potential(cost, log_a, epsilon, start)


@jax.custom_jvp
def _self_potential(cost, log_a, epsilon, guess):
    a = jnp.exp(log_a)
    top = jnp.max(jnp.where((a > 0)[:, None] & (a > 0), cost, 0))
    tolerance = _tolerance(top, epsilon)

    def anneal(carry):
        level, f = carry
        level = jnp.maximum(level * _ANNEALING, epsilon)
        return level, (f + _softmin(cost, level, log_a, f, 1)) / 2

    if guess is None:
        start = (jnp.maximum(top, epsilon), jnp.zeros_like(log_a))
        _, f = jax.lax.while_loop(lambda c: c[0] > epsilon, anneal, start)
    else:
        f = guess

    def newton(carry):
        count, f, _ = carry
        pull = _softmin(cost, epsilon, log_a, f, 1)
        error = jnp.vdot(a, jnp.abs(jnp.expm1((f - pull) / epsilon)))
        # f − T f = 0 has the derivative I + π; where far, the average is safer.
        matrix = jnp.exp(_tilt(cost, epsilon, log_a / 2, log_a / 2, f, f))
        root = jnp.exp(log_a / 2)
        move = _self_solve(matrix, root * (pull - f), jnp.minimum(0.1, error))
        column = jnp.exp(_tilt(cost, epsilon, jnp.zeros_like(log_a), log_a / 2, pull, f))
        near = error < 0.3
        f = jnp.where(near, pull - column @ move, (f + pull) / 2)
        return count + 1, f, error

    _, f, error = jax.lax.while_loop(
        lambda c: (c[0] < _NEWTON_STEPS) & ~(c[2] <= tolerance),
        newton,
        (0, f, jnp.full((), jnp.inf, f.dtype)),
    )
    return jnp.where(error <= _accepted(tolerance), f, jnp.nan)


def _self_solve(matrix, right, tolerance):
    operator = lambda s: s + matrix @ s  # noqa: E731
    solve = lambda _, b: cg(operator, b, tol=tolerance, maxiter=_CG_STEPS)[0]  # noqa: E731
    return jax.lax.custom_linear_solve(operator, right, solve, symmetric=True)


@_self_potential.defjvp
@in_full_precision
def _self_potential_jvp(primals, tangents):
    cost, log_a, epsilon, _ = primals
    f = _self_potential(*primals)
    primals, tangents = primals[:-1], tangents[:-1]

    def residual(cost, log_a, epsilon):
        return _softmin(cost, epsilon, log_a, f, 1)

    _, move = jax.jvp(residual, primals, tangents)
    root = jnp.exp(log_a / 2)
    scaled = jnp.exp(_tilt(cost, epsilon, jnp.zeros_like(log_a), log_a / 2, f, f))
    s = _self_solve(root[:, None] * scaled, root * move, 10 * jnp.finfo(f.dtype).eps)
    return f, move - scaled @ s


@jax.custom_jvp
def optimal_entropic_cost(cost, log_a, log_b, epsilon) -> FloatScalar:
    """OT_ε(μ, ν) of normalised weights; its first derivative needs no linear system."""
    f, g = cost_potentials(cost, log_a, log_b, epsilon)
    return jnp.vdot(jnp.exp(log_a), f) + jnp.vdot(jnp.exp(log_b), g)


def _dual(cost, log_a, log_b, epsilon, f, g):
    tilt = _tilt(cost, epsilon, log_a, log_b, f, g)
    linear = jnp.vdot(jnp.exp(log_a), f) + jnp.vdot(jnp.exp(log_b), g)
    return linear - epsilon * (jnp.sum(jnp.exp(tilt)) - 1)


@optimal_entropic_cost.defjvp
@in_full_precision
def _optimal_entropic_cost_jvp(primals, tangents):
    # The dual is stationary in the potentials, which keep their derivative for the next order.
    f, g = cost_potentials(*primals)
    a, b = jnp.exp(primals[1]), jnp.exp(primals[2])
    value = jnp.vdot(a, f) + jnp.vdot(b, g)
    return value, jax.jvp(partial(_dual, f=f, g=g), primals, tangents)[1]


@jax.custom_jvp
def self_entropic_cost(cost, log_a, epsilon) -> FloatScalar:
    """OT_ε(μ, μ)."""
    return 2 * jnp.vdot(jnp.exp(log_a), self_cost_potential(cost, log_a, epsilon))


@self_entropic_cost.defjvp
@in_full_precision
def _self_entropic_cost_jvp(primals, tangents):
    f = self_cost_potential(*primals)
    dual = lambda cost, log_a, epsilon: _dual(cost, log_a, log_a, epsilon, f, f)  # noqa: E731
    value = 2 * jnp.vdot(jnp.exp(primals[1]), f)
    return value, jax.jvp(dual, primals, tangents)[1]

r"""Entropic transport between relaxed marginals ([sejourne2019]).

    OT_{ε,λ}(μ, ν) = min_π ∫ c dπ + ε KL(π | μ⊗ν) + λ_a KL(π₁ | μ) + λ_b KL(π₂ | ν)
                   = max_{f, g} λ_a ∫ 1 − e^{−f/λ_a} dμ + λ_b ∫ 1 − e^{−g/λ_b} dν
                                − ε ∬ e^{(f + g − c)/ε} − 1 dμ dν

The potentials are the fixed point f = τ_a S_ν(g), g = τ_b S_μ(f) of damped Sinkhorn steps S with
τ = λ/(λ + ε). Newton's method on it, along a falling ε, takes few steps where the plain iteration
takes 1/(1 − τ_a τ_b).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._custom_types import FloatScalar
from .._numerics import conjugate_gradients
from ._pairs import AbstractPairs
from ._schrodinger import _accepted, _tolerance
from ._schrodinger_streamed import between

_ANNEALING = 0.25
# A level is left when a step would move (f, g)/ε by less than this.
_NEAR = 0.1
_STEPS = 300
_CG_STEPS = 500


def relaxed_potentials(
    pairs: AbstractPairs,
    log_a: Array,
    log_b: Array,
    epsilon: FloatScalar,
    inverse_a: FloatScalar,
    inverse_b: FloatScalar,
) -> tuple[Array, Array]:
    """f and g for 1/λ_a and 1/λ_b, of which one may be 0; not differentiated; NaN if not found."""
    top, turned = pairs.top(log_a, log_b), pairs.turned()
    tolerance = _tolerance(top, epsilon)
    share = lambda level, inverse: 1 / (1 + level * inverse)  # noqa: E731
    alive = log_a > -jnp.inf

    def steps(level, f):
        g = share(level, inverse_b) * turned.softmin(log_a, f, level)
        return g, share(level, inverse_a) * pairs.softmin(log_b, g, level)

    def error(level, f, pull):
        return jnp.max(jnp.where(alive, jnp.abs(pull - f), 0)) / level

    def newton(carry):
        count, level, f, g, pull, old = carry
        one, two = share(level, inverse_a), share(level, inverse_b)
        # The means P over ν after Q over μ are symmetric under the plan's own rows.
        log_w = log_a + (f - pull / one) / level
        root = jnp.exp((log_w - jnp.max(log_w)) / 2)
        there_and_back = between(pairs, log_a, f, log_b, g, level, root)
        near_enough = 1e-2 * jnp.minimum(1, old)
        operator = lambda s: s - one * two * there_and_back(s)  # noqa: E731
        solution = conjugate_gradients(operator, root * (pull - f), near_enough, _CG_STEPS)
        move = jnp.where(root > 0, solution / jnp.where(root > 0, root, 1), 0)
        # One step of the iteration itself gives the move also where the weights are lost.
        once = between(pairs, log_a, f, log_b, g, level, jnp.ones_like(f))
        trial = pull + one * two * once(move)
        g_trial, pull_trial = steps(level, trial)
        better = error(level, trial, pull_trial) < old
        f = jnp.where(better, trial, pull)
        g_plain, pull_plain = steps(level, f)
        g, pull = jnp.where(better, g_trial, g_plain), jnp.where(better, pull_trial, pull_plain)
        now = error(level, f, pull)
        down = (now < _NEAR) & (level > epsilon)
        level = jnp.where(down, jnp.maximum(level * _ANNEALING, epsilon), level)
        g_down, pull_down = steps(level, f)
        g, pull = jnp.where(down, g_down, g), jnp.where(down, pull_down, pull)
        return count + 1, level, f, g, pull, jnp.where(down, error(level, f, pull), now)

    level = jnp.maximum(top, epsilon)
    f = jnp.zeros_like(log_a)
    g, pull = steps(level, f)
    _, level, f, g, pull, last = jax.lax.while_loop(
        lambda c: (c[0] < _STEPS) & ~((c[5] <= tolerance) & (c[1] <= epsilon)),
        newton,
        (0, level, f, g, pull, error(level, f, pull)),
    )
    solved = (last <= _accepted(tolerance)) & (level <= epsilon)
    return jnp.where(solved, pull, jnp.nan), jnp.where(solved, g, jnp.nan)


@jax.custom_jvp
def relaxed_value(
    pairs: AbstractPairs,
    log_a: Array,
    log_b: Array,
    epsilon: FloatScalar,
    inverse_a: FloatScalar,
    inverse_b: FloatScalar,
) -> FloatScalar:
    """OT_{ε,λ}, differentiable once: the dual is stationary in the potentials."""
    args = (pairs, log_a, log_b, epsilon, inverse_a, inverse_b)
    return _dual(*args, *relaxed_potentials(*args))


@relaxed_value.defjvp
def _relaxed_value_jvp(primals, tangents):
    f, g = relaxed_potentials(*primals)
    return jax.jvp(partial(_dual, f=f, g=g), primals, tangents)


def _dual(pairs, log_a, log_b, epsilon, inverse_a, inverse_b, f, g):
    a = jnp.exp(log_a)
    plan = jnp.vdot(a, jnp.exp((f - pairs.softmin(log_b, g, epsilon)) / epsilon))
    ends = _marginal(f, log_a, inverse_a) + _marginal(g, log_b, inverse_b)
    return ends - epsilon * (plan - jnp.sum(a) * jnp.sum(jnp.exp(log_b)))


def _marginal(f, log_a, inverse):
    """λ ∫ 1 − e^{−f/λ} dμ, and ∫ f dμ for 1/λ = 0."""
    a = jnp.exp(log_a)
    f = jnp.where(a > 0, f, 0)
    soft = inverse > 0
    safe = jnp.where(soft, inverse, 1)
    return jnp.vdot(a, jnp.where(soft, -jnp.expm1(-f * safe) / safe, f))

r"""Schedules of stochastic interpolants: t ↦ (α_t, β_t, γ_t²).

γ enters by its square: γ = √(t(1 − t)) has no derivative at the ends, γ² has. Any function of t
with these three values is a schedule.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike

from ..._custom_types import FloatScalar, NonNegative, Point, Positive
from ..._numerics import Checked, checked
from ...measures._base import concrete

Schedule = Callable[[Any], tuple[Any, Any, Any]]


class LinearSchedule(Checked):
    """α = 1 − t, β = t, γ² = `gamma`² t(1 − t): flow matching, and Brownian bridges.

    !!! example

        `fm.LinearSchedule()(0.3)`
    """

    gamma: NonNegative = 0.0

    def __call__(self, t):
        return 1 - t, t, self.gamma**2 * t * (1 - t)


class TrigonometricSchedule(Checked):
    """α = cos(πt/2), β = sin(πt/2), γ² = `gamma`² t(1 − t), which preserves variance at γ = 0.

    !!! example

        `fm.TrigonometricSchedule()(0.3)`
    """

    gamma: NonNegative = 0.0

    def __call__(self, t):
        return jnp.cos(jnp.pi * t / 2), jnp.sin(jnp.pi * t / 2), self.gamma**2 * t * (1 - t)


class DiffusionSchedule(Checked):
    r"""β = e^{−T(1−t)}, α = √(1 − β²), γ = 0: the diffusion dY = −Y ds + √2 dW, s = T(1 − t).

    It is run back from time s = T, `horizon`, where the data have the weight e^{−T}. At t = 1 its α
    has no derivative; end there with steps of Euler, or a little before.

    !!! example

        `fm.DiffusionSchedule(horizon=5.0)(0.3)`
    """

    horizon: Positive = 5.0

    def __call__(self, t):
        beta = jnp.exp(-self.horizon * (1 - t))
        return jnp.sqrt(-jnp.expm1(-2 * self.horizon * (1 - t))), beta, jnp.zeros_like(t)


def within(t: FloatScalar, dtype: DTypeLike, last: FloatScalar = 1.0) -> Array:
    """The time t in [0, `last`]; others raise, or are NaN in compiled code."""
    t = jnp.asarray(t, dtype)
    # Sums of steps may go past the ends by what is rounded.
    slack = 1e-6 * (1 + jnp.abs(t))
    inside = (t >= -slack) & (t <= last + slack)
    if concrete(inside) and not bool(jnp.all(inside)):
        raise ValueError(f"`t` is {t}; the flow is defined for times from 0 to {last}.")
    return jnp.where(inside, t, jnp.nan)


def moving(schedule: Callable[[Any], Any], t: FloatScalar) -> tuple[Any, Any]:
    """The schedule at t, and its derivative."""
    return jax.jvp(schedule, (t,), (jnp.ones_like(t),))


@checked
def velocity_from_score(
    schedule: Schedule, score: Callable[[FloatScalar, Point], Point]
) -> Callable[[FloatScalar, Point], Point]:
    r"""The velocity that belongs to a score, where the source is N(0, I).

    b = (β̇/β)(x + (α² + γ²) s) − (αα̇ + γγ̇) s, with the conditional expectations
    E[X_1 | x] = (x + (α² + γ²) s)/β; for β > 0, so after t = 0. With the linear schedule
    b = x/t + ((1 − t)/t) s: in [peyre2025] this is printed with the times exchanged.

    **Arguments:** `schedule`: t ↦ (α, β, γ²). `score`: s(t, x), ∇ log ρ_t or learned.

    !!! example

        `fm.velocity_from_score(fm.LinearSchedule(), lambda t, x: -x)(0.5, jnp.ones(2))`
    """

    def velocity(t, x):
        t = within(t, x.dtype)
        (alpha, beta, square), (alpha_dot, beta_dot, square_dot) = moving(schedule, t)
        s = score(t, x)
        noise = (alpha * alpha_dot + square_dot / 2) * s
        return beta_dot / beta * (x + (alpha**2 + square) * s) - noise

    return velocity

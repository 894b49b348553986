r"""Exponential integrators of generative flows, exact where the denoiser doesn't change.

With I = αX_0 + βX_1, D = E[X_1 | x] and r = β/α the flow is d(x/α) = D dr, so that a step is

    x₁ = (α₁/α) x + (β₁ − α₁β/α) D(t, x)

(DDIM, [song2021ddim]). The second order takes D at a point between and lets it be linear in
u = β/(α + β), as [lu2022] does in log r; the weights are finite from u = 0 to u = 1.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import PRNGKey
from ..systems.generative._schedules import LinearSchedule, Schedule, moving
from ._base import AbstractScheme, clock, unwrapped


class ExponentialIntegrator(AbstractScheme):
    """Few steps for flows of a source N(0, I) to data by an interpolant without γ.

    The velocity of the system, exact or learned, is all that it needs.

    **Arguments:** `schedule`: that of the velocity. `order`: 1, one evaluation a step, or 2, two;
    the second knows its error to the first, for adaptive steps.

    !!! example

        `simulate(flow, noise, [0.0, 1.0], dt=0.1, solver=ExponentialIntegrator())`
    """

    schedule: Schedule = LinearSchedule()
    steps_order: int = 2

    orders: ClassVar = (2, None)

    def __init__(self, schedule: Schedule = LinearSchedule(), order: int = 2):
        if order not in (1, 2):
            raise ValueError(f"`order` is {order}; it is 1 or 2.")
        self.schedule, self.steps_order = schedule, order

    def order(self, terms):
        return self.steps_order

    def init(self, terms, t0, t1, y0, args):
        if not hasattr(unwrapped(terms), "vector_field"):
            raise ValueError("ExponentialIntegrator takes no noise; see PredictorCorrector.")
        return None

    def error_order(self, terms):
        return 2 if self.steps_order == 2 else None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        middle = t0 + (t1 - t0) / 2
        begin, between, end = (clock(terms, t) for t in (t0, middle, t1))
        clean = denoised(self.schedule, terms.vf(t0, y0, args), begin, y0)
        y1, error = self._move(begin, end, y0, clean), None
        if self.steps_order == 2:
            half = self._move(begin, between, y0, clean)
            change = denoised(self.schedule, terms.vf(middle, half, args), between, half)
            change = jax.tree.map(jnp.subtract, change, clean)
            weight = self._weight(begin, between, end)
            error = jax.tree.map(lambda c: weight.astype(c.dtype) * c, change)
            y1 = jax.tree.map(jnp.add, y1, error)
        return y1, error, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

    def _move(self, t0, t1, y, clean):
        (alpha, beta, _), (alpha_1, beta_1, _) = (self.schedule(jnp.asarray(t)) for t in (t0, t1))
        keep, take = alpha_1 / alpha, beta_1 - alpha_1 * beta / alpha
        return jax.tree.map(
            lambda x, d: keep.astype(x.dtype) * x + take.astype(x.dtype) * d, y, clean
        )

    def _weight(self, t0, middle, t1):
        """α₁ ∫ (u − u₀) dr/(u_s − u₀), with dr = du/(1 − u)²."""

        def share(t):
            alpha, beta, _ = self.schedule(jnp.asarray(t))
            return beta / (alpha + beta), alpha / (alpha + beta), alpha, beta

        (u0, rest_0, *_), (us, *_), (u1, rest_1, alpha, beta) = map(share, (t0, middle, t1))
        grown = jnp.where(rest_1 > 0, jnp.log(jnp.where(rest_1 > 0, rest_1, 1) / rest_0), 0)
        return ((u1 - u0) * (alpha + beta) + alpha * grown) / (us - u0)


def denoised(schedule: Schedule, velocity: Any, t: Any, y: Any) -> Any:
    """D from b: the solution of x = αX_0 + βX_1, b = α̇X_0 + β̇X_1."""
    (alpha, beta, _), (alpha_dot, beta_dot, _) = moving(schedule, jnp.asarray(t))
    size = alpha * beta_dot - alpha_dot * beta
    on = (alpha / size, alpha_dot / size)
    return jax.tree.map(
        lambda b, x: on[0].astype(x.dtype) * b - on[1].astype(x.dtype) * x, velocity, y
    )


def noised(key: PRNGKey, y: Any, keep: Any, noise: Any) -> Any:
    """keep y + noise ξ, leaf by leaf."""
    leaves, structure = jax.tree.flatten(y)
    keys = jax.random.split(key, len(leaves))
    moved = [
        keep.astype(x.dtype) * x + noise.astype(x.dtype) * jax.random.normal(k, x.shape, x.dtype)
        for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)

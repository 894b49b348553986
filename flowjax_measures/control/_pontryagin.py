r"""Pontryagin's principle for controls that drive a measure ([cipriani2024]).

    J(θ) = ∫ ψ(x(T)) dμ + ∫_0^T L(θ(t)) dt,   ẋ = f(x, θ(t)),   x(0) ~ μ

With costates ṗ = −∂_x⟨p, f⟩, p(T) = ∇ψ(x(T)), the gradient of J is

    δJ/δθ(t) = ∫ ∂_θ ⟨p, f(x, θ)⟩ dμ + ∇L(θ),   and p(0) is that with respect to the points x(0).

States and costates are integrated back together: memory does not grow with the steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._custom_types import FloatScalar, Point
from .._numerics import safe_sqrt
from .._system import AbstractSystem
from ..measures import Increment, Particles
from ..measures._base import replace
from ..simulation._simulate import simulate
from ..spaces import Phase
from ..systems.networks import ControlledFlow


class Pontryagin(NamedTuple):
    """J, its gradient with respect to each interval's control, and the costates at time 0."""

    value: FloatScalar
    gradient: PyTree
    costates: PyTree


class _Backward(AbstractSystem):
    """States, costates and the gradient of one interval, in reversed time."""

    flow: ControlledFlow

    def __call__(self, t, state):
        points, controls = state["points"], self.flow.controls
        drift = self.flow(t, points).drift

        def energy(theta, x):
            pushed = self.flow.field(x.q, theta)
            return sum(map(jnp.vdot, jax.tree.leaves(x.p), jax.tree.leaves(pushed)))

        theta = jax.tree.map(lambda a: a[0], controls)
        slope = points.mean(lambda x: jax.grad(energy)(theta, x))
        return Increment({"points": jax.tree.map(jnp.negative, drift), "gradient": slope})


def pontryagin(
    flow: ControlledFlow,
    mu: Particles,
    terminal: Callable[[Point], FloatScalar],
    running: Callable[[Any], FloatScalar] | None = None,
    *,
    dt: float | None = None,
) -> Pontryagin:
    """The gradient of a control problem by its costates.

    **Arguments:**

    - `flow`: the field, its controls and the horizon.
    - `mu`: the particles at time 0. What belongs to a point and stays, a target, is part of it,
      with velocity zero.
    - `terminal`: ψ of one point. `running`: L of one control, or None.
    - `dt`: step of the integration, or None for adaptive steps.

    **Returns:** `Pontryagin(value, gradient, costates)`.
    """
    size, controls = flow.number(), flow.controls
    step = float(flow.horizon) / size

    def over(theta, system, state):
        single = jax.tree.map(lambda a: a[None], theta)
        part = ControlledFlow(flow.field, single, step)
        return simulate(system(part), state, [0.0, step], dt=dt).final

    def forward(mu, theta):
        return over(theta, lambda part: part, mu), None

    def backward(points, theta):
        state = {"points": points, "gradient": jax.tree.map(jnp.zeros_like, theta)}
        final = over(theta, _Backward, state)
        return final["points"], final["gradient"]

    final, _ = jax.lax.scan(forward, mu, controls)
    value = final.mean(lambda x: jnp.asarray(terminal(x)))
    costates = jax.vmap(jax.grad(terminal))(final.x)
    points = replace(final, x=Phase(final.x, costates))
    points, gradient = jax.lax.scan(backward, points, controls, reverse=True)
    if running is not None:
        total = lambda c: step * jnp.sum(jnp.asarray(jax.vmap(running)(c)))  # noqa: E731
        value = value + total(controls)
        gradient = jax.tree.map(jnp.add, gradient, jax.grad(total)(controls))
    return Pontryagin(value, gradient, points.x.p)


def worst_case(
    flow: ControlledFlow,
    mu: Particles,
    terminal: Callable[[Point], FloatScalar],
    radius: FloatScalar,
    *,
    steps: int = 5,
    dt: float | None = None,
    moves: Callable[[PyTree], PyTree] = lambda p: p,
) -> Particles:
    r"""The inputs within `radius` of those of `mu` that make ∫ ψ(x(T)) dμ large.

    Projected ascent along the costates at time 0. The gradient of the worst case with respect to
    the controls is that of `pontryagin` at these points.

    **Arguments:** `flow`, `mu`, `terminal`, `dt`: as for `pontryagin`. `steps`: of the ascent, each
    of length 2·radius/steps. `moves`: what an adversary can change: a function of one costate that
    sets the rest to zero (targets).
    """

    def norm(p):
        return safe_sqrt(sum(jnp.sum(a**2) for a in jax.tree.leaves(p)))

    def ascend(x, _):
        costates = pontryagin(flow, replace(mu, x=x), terminal, dt=dt).costates

        def one(start, x, p):
            p = moves(p)
            length = 2 * radius / (steps * jnp.maximum(norm(p), 1e-30))
            away = jax.tree.map(lambda a, b, c: a + length * c - b, x, start, p)
            shrink = radius / jnp.maximum(norm(away), radius)
            return jax.tree.map(lambda b, c: b + shrink * c, start, away)

        return jax.vmap(one)(mu.x, x, costates), None

    return replace(mu, x=jax.lax.scan(ascend, mu.x, length=steps)[0])

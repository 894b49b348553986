r"""Pontryagin's principle for controls that drive a measure ([cipriani2024]).

    J(θ) = ∫ ψ(x(T)) dμ + ∫_0^T L(θ(t)) dt,   ẋ = f(x, μ_t, θ(t)),   x(0) ~ μ

With costates p(T) = ∇ψ(x(T)) and, as each point is also seen by the others,

    ṗ(x) = −∂_x⟨p(x), f(x, μ, θ)⟩ − ∇_x ∫ ⟨p(y), δf/δμ(y, μ, θ)(x)⟩ μ(dy),

the gradient of J is

    δJ/δθ(t) = ∫ ∂_θ ⟨p, f(x, μ, θ)⟩ dμ + ∇L(θ),   and p(0) is that with respect to the points x(0).

From a Gaussian the same holds of its closure, with costates of mean and covariance. The discrete
principle has the steps of the solver in place of the equation of ẋ: its costates are exactly the
derivatives of the run. The continuous one integrates states and costates back together.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._custom_types import Count, FloatScalar, Point, Scalar
from .._numerics import checked, safe_sqrt
from .._system import AbstractSystem
from ..measures import AbstractMeasure, Increment, Particles
from ..measures._base import concrete, flowing, replace
from ..simulation._simulate import simulate
from ..simulation._terms import like
from ..systems.networks import ControlledFlow
from ._risk import conditional_value_at_risk


class Pontryagin(NamedTuple):
    """J, its gradient with respect to each interval's control, and the costates at time 0.

    !!! example

        ```python
        fm.pontryagin(
            fm.ControlledFlow(lambda x, c: c - x, jnp.zeros((4, 2))), mu, f, dt=0.25
        ).gradient
        ```
    """

    value: FloatScalar
    gradient: PyTree
    costates: PyTree


class _Backward(AbstractSystem):
    """States, costates and the gradient of one interval, in reversed time."""

    flow: ControlledFlow

    def __call__(self, t, state):
        mu = state["points"]
        moving, still = eqx.partition(mu, flowing(mu))

        def drift(controls, moving):
            flow = ControlledFlow(self.flow.field, controls, self.flow.horizon)
            return like(moving, flow(t, eqx.combine(moving, still)).drift)

        velocity, pull_back = jax.vjp(drift, self.flow.controls, moving)
        slope, force = pull_back(jax.tree.unflatten(jax.tree.structure(moving), state["costates"]))
        slope = jax.tree.map(lambda a: a[0], slope)
        back = jax.tree.map(jnp.negative, velocity)
        return Increment({"points": back, "costates": jax.tree.leaves(force), "gradient": slope})


@checked
def pontryagin(
    flow: ControlledFlow,
    mu: AbstractMeasure,
    terminal: Callable[[Point], FloatScalar],
    running: Callable[[Any], FloatScalar] | None = None,
    *,
    dt: float | None = None,
    adjoint: Literal["discrete", "continuous"] = "discrete",
    level: Scalar = 0.0,
) -> Pontryagin:
    """The gradient of a control problem by its costates.

    **Arguments:**

    - `flow`: the field, its controls and the horizon.
    - `mu`: the measure at time 0, as a rule particles, on any space. What belongs to a point and
      stays, a target, is part of it, with velocity zero.
    - `terminal`: ψ of one point. `running`: L of one control, or None.
    - `dt`: step of the integration, or None for adaptive steps.
    - `adjoint`: "discrete", the gradient of the run to round-off, in the memory of the steps of one
      interval; or "continuous", off by the error of the steps, in memory that does not grow.
    - `level`: α, for the mean of ψ over the share 1 − α of particles where it is largest, its
      `conditional_value_at_risk`, in place of the mean over all; at 1 its largest value.

    **Returns:** `Pontryagin(value, gradient, costates)`; the costates are those of unit mass,
    n ∂J/∂x_i of equal particles, with the structure of a point; of another measure, ∂J by its
    fields, in a measure of that kind.

    !!! example

        ```python
        def block(x, mu, theta):
            return theta["v"] @ mu.mean(logits=lambda y: x @ theta["a"] @ y)

        fm.pontryagin(fm.ControlledFlow(block, controls), tokens, loss, dt=0.1).gradient
        ```
    """
    if adjoint not in ("discrete", "continuous"):
        raise ValueError(f'`adjoint` is {adjoint!r}; it is "discrete" or "continuous".')
    size, controls = flow.number(), flow.controls
    step = float(flow.horizon) / size
    plain = concrete(level) and float(level) == 0
    if not (plain or isinstance(mu, Particles)):
        raise ValueError("`level` is not 0, and `mu` has no atoms; give Particles.")

    def over(theta, system, state):
        single = jax.tree.map(lambda a: a[None], theta)
        part = ControlledFlow(flow.field, single, step)
        return simulate(system(part), state, [0.0, step], dt=dt).final

    def forward(mu, theta):
        return over(theta, lambda part: part, mu), mu

    def through(costates, inputs):
        theta, mu = inputs
        moving, still = eqx.partition(mu, flowing(mu))

        def step(theta, moving):
            end = over(theta, lambda part: part, eqx.combine(moving, still))
            return jax.tree.leaves(eqx.filter(end, flowing(end)))

        slope, back = jax.vjp(step, theta, moving)[1](costates)
        return jax.tree.leaves(back), slope

    def backward(carry, theta):
        points, costates = carry
        start = jax.tree.map(jnp.zeros_like, theta)
        state = {"points": points, "costates": costates, "gradient": start}
        final = over(theta, _Backward, state)
        return (final["points"], final["costates"]), final["gradient"]

    final, starts = jax.lax.scan(forward, mu, controls)
    moving, still = eqx.partition(final, flowing(final))

    def end(moving):
        mu = eqx.combine(moving, still)
        if plain:
            return mu.mean(lambda x: jnp.asarray(terminal(x)))
        values = jax.vmap(lambda x: jnp.asarray(terminal(x)))(mu.x)
        return conditional_value_at_risk(values, level, jnp.exp(mu.log_weights()))

    value, costates = jax.value_and_grad(end)(moving)
    # As numbers, not as a measure: they live on no space.
    numbers, structure = jax.tree.flatten(costates)
    if adjoint == "discrete":
        numbers, gradient = jax.lax.scan(through, numbers, (controls, starts), reverse=True)
    else:
        (_, numbers), gradient = jax.lax.scan(backward, (final, numbers), controls, reverse=True)
    costates = jax.tree.unflatten(structure, numbers)
    if isinstance(mu, Particles):
        log_w = mu.log_weights()
        log_w = log_w - jax.nn.logsumexp(log_w)
        costates = jax.tree.map(lambda a: jax.vmap(jnp.multiply)(a, jnp.exp(-log_w)), costates.x)
    if running is not None:
        total = lambda c: step * jnp.sum(jnp.asarray(jax.vmap(running)(c)))  # noqa: E731
        value = value + total(controls)
        gradient = jax.tree.map(jnp.add, gradient, jax.grad(total)(controls))
    return Pontryagin(value, gradient, costates)


@checked
def worst_case(
    flow: ControlledFlow,
    mu: Particles,
    terminal: Callable[[Point], FloatScalar],
    radius: FloatScalar,
    *,
    steps: Count = 5,
    dt: float | None = None,
    moves: Callable[[PyTree], PyTree] = lambda p: p,
    adjoint: Literal["discrete", "continuous"] = "discrete",
) -> Particles:
    r"""The inputs within `radius` of those of `mu` that make ∫ ψ(x(T)) dμ large.

    Projected ascent along the costates at time 0. The gradient of the worst case with respect to
    the controls is that of `pontryagin` at these points.

    **Arguments:** `flow`, `mu`, `terminal`, `dt`, `adjoint`: as for `pontryagin`. `steps`: of the
    ascent, each of length 2·radius/steps. `moves`: what an adversary can change: a function of one
    costate that sets the rest to zero (targets).

    !!! example

        ```python
        fm.worst_case(
            fm.ControlledFlow(lambda x, c: c - x, jnp.zeros((4, 2))), mu, f, 0.1, dt=0.25
        )
        ```
    """

    def norm(p):
        return safe_sqrt(sum(jnp.sum(a**2) for a in jax.tree.leaves(p)))

    def ascend(x, _):
        costates = pontryagin(flow, replace(mu, x=x), terminal, dt=dt, adjoint=adjoint).costates

        def one(start, x, p):
            p = moves(mu.space.project(x, p))
            length = 2 * radius / (steps * jnp.maximum(norm(p), 1e-30))
            away = jax.tree.map(lambda a, b, c: a + length * c - b, x, start, p)
            shrink = radius / jnp.maximum(norm(away), radius)
            return mu.space.nearest(jax.tree.map(lambda b, c: b + shrink * c, start, away))

        return jax.vmap(one)(mu.x, x, costates), None

    return replace(mu, x=jax.lax.scan(ascend, mu.x, length=steps)[0])

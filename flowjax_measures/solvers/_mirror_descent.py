r"""Mirror descent: explicit steps in mirror coordinates ([nemirovski1983], [bonet2024]).

    ∇u(x_{k+1}) = ∇u(x_k) − τ ∇δF/δμ_k(x_k)      in the metric `Mirror(u)`
    w_{k+1} ∝ w_k e^{−τ δF/δμ_k}                 in the metric `FisherRao()`, multiplicative weights

They go to the flow as τ → 0, of order 1, and unlike its own explicit steps stay where u lives.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._custom_types import Positive
from ..measures import Particles
from ..measures._base import replace
from ..metrics import FisherRao, Mirror
from ..systems.flows import GradientFlow
from ._base import AbstractScheme, posed

_NEWTON_STEPS = 60


class MirrorDescent(AbstractScheme):
    """Steps a `GradientFlow` of `Particles`, of an energy that doesn't diffuse.

    The point with given mirror coordinates is found by Newton's method with shorter steps
    where whole ones lead away, and is NaN where there is none: unless u is steep at the walls of
    its domain, steps that are too long end nowhere.

    **Arguments:** `tau`: the step, the `dt` of the run.

    !!! example

        `simulate(GradientFlow(F, Mirror(u)), mu, [0.0, 10.0], solver=MirrorDescent(0.1))`
    """

    tau: Positive

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        flow: Any
        metric: Any
        flow, mu = posed(terms, y0)
        known = isinstance(flow, GradientFlow) and isinstance(flow.metric, Mirror | FisherRao)
        if not known or not isinstance(mu, Particles):
            raise ValueError(
                "MirrorDescent steps a GradientFlow in the metric Mirror(u) or FisherRao() from "
                "Particles."
            )
        h, energy, metric = t1 - t0, flow.energy, flow.metric
        if isinstance(metric, FisherRao):
            height: Any = jax.vmap(lambda x: energy.first_variation(x, mu))(mu.x)
            moved = mu.log_weights() - jnp.asarray(h, height.dtype) * height
            log_mass = jax.nn.logsumexp(mu.log_weights())
            y1 = replace(y0, log_w=jax.nn.log_softmax(moved) + log_mass)
        else:
            if jax.eval_shape(lambda x: energy.diffusivity(x, mu), mu.mean()) is not None:
                raise ValueError(f"{type(energy).__name__} diffuses; MirrorDescent has no noise.")
            mirror = jax.grad(metric.potential)
            goal = jax.vmap(lambda x: mirror(x) + h * energy.velocity(x, mu))(mu.x)
            y1 = replace(y0, x=jax.vmap(lambda x, z: _solve(mirror, x, z))(mu.x, goal))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def _solve(mirror: Any, x: Array, goal: Array) -> Array:
    """The point with the mirror coordinates `goal`."""
    tolerance = 100 * jnp.finfo(goal.dtype).eps * (1 + jnp.max(jnp.abs(goal)))
    shares = 0.5 ** jnp.arange(30, dtype=goal.dtype)
    rest = lambda y: mirror(y) - goal  # noqa: E731
    size = lambda y: jnp.max(jnp.abs(rest(y)))  # noqa: E731

    def newton(rest, y):
        def closer(carry):
            count, y, _ = carry
            move = jnp.linalg.solve(jax.jacfwd(rest)(y), rest(y))
            # Of shares of the step the one that ends nearest; beyond where u lives are NaNs.
            tried = y - shares[:, None] * move
            sizes = jax.vmap(size)(tried)
            best = jnp.argmin(jnp.where(jnp.isfinite(sizes), sizes, jnp.inf))
            return count + 1, tried[best], sizes[best]

        open_ = lambda carry: (carry[0] < _NEWTON_STEPS) & (carry[2] > tolerance)  # noqa: E731
        _, y, left = jax.lax.while_loop(open_, closer, (0, y, size(y)))
        return jnp.where(left <= tolerance, y, jnp.nan)

    def tangent(linear, b):
        return jnp.linalg.solve(jax.jacfwd(linear)(jnp.zeros_like(b)), b)

    return jax.lax.custom_root(rest, x, newton, tangent)

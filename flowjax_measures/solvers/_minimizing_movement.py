r"""Minimising movements on a manifold of functions ([bon2026]).

    θ_{k+1} ∈ argmin_θ  ‖U(θ) − U(θ_k)‖² / (2τ) + E(U(θ))

The step of the gradient flow of E in the metric space of the functions U(θ). It knows functions and
not their parametrisation, so that it passes points where DU loses rank, and E never increases:
E(θ_{k+1}) + ‖U(θ_{k+1}) − U(θ_k)‖² / (2τ) ≤ E(θ_k). Order 1. θ itself may jump.
"""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from .._custom_types import Positive
from ..systems.networks import NaturalGradient
from ._base import AbstractScheme


class MinimizingMovement(AbstractScheme):
    """The minimising movement of a `NaturalGradient` flow, by Newton's method with descent.

    Negative curvature is taken by its size and steps that don't descend are shortened, so that the
    end of a step is never above its start.

    **Arguments:** `tau`: the step τ, the `dt` of the run. `flow`: the `NaturalGradient` that is
    run. `iterations`: Newton's steps in a step. `starts`: function of θ that returns other
    parameters of nearly the same function, stacked, from which the minimum is sought too: after a
    collision it may lie far in θ, as `AllenCahn.splittings` knows.

    !!! example

        `simulate(flow, theta, ts, solver=MinimizingMovement(tau, flow))`
    """

    tau: Positive
    flow: NaturalGradient
    iterations: int = 50
    starts: Callable[[PyTree], PyTree] | None = None

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        start, unravel = ravel_pytree(y0)
        here = self.flow.embedding(y0)

        def objective(z):
            theta = unravel(z)
            moved = self.flow.embedding(theta) - here
            return jnp.vdot(moved, moved) / (2 * (t1 - t0)) + self.flow.energy(theta)

        def improve(carry, _):
            z, value, damping = carry
            slope, curvature = jax.grad(objective)(z), jax.hessian(objective)(z)
            values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient((curvature + curvature.T) / 2))
            size = jnp.abs(values)
            size = size + damping * jnp.max(size)
            trial = z - vectors @ ((vectors.T @ slope) / size)
            found = objective(trial)
            better = found < value
            z, value = jnp.where(better, trial, z), jnp.where(better, found, value)
            damping = jnp.clip(jnp.where(better, damping / 5, damping * 4), floor, 1e6)
            return (z, value, damping), None

        def minimum(z):
            carry = (z, objective(z), jnp.asarray(1e-3, z.dtype))
            return jax.lax.scan(improve, carry, length=self.iterations)[0][:2]

        floor = 10 * jnp.finfo(start.dtype).eps
        z, value = minimum(start)
        if self.starts is not None:
            others = jax.vmap(lambda theta: ravel_pytree(theta)[0])(self.starts(y0))
            others, values = jax.vmap(minimum)(others)
            best = jnp.argmin(values)
            z = jnp.where(values[best] < value, others[best], z)
        y1 = unravel(z)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

r"""Anderson mixing on measures: steepest descent with a memory ([aksenov2026], [li2025]).

    θ = argmin ‖r_k − Σ_j θ_j ΔR_j‖,   μ_{k+1} = exp_{μ_k}(τ r_k − Σ_j θ_j (ΔX_j + τ ΔR_j))

r_k is the velocity of the flow as a tangent vector at μ_k, ΔX_j are past steps and ΔR_j the changes
of r along them, carried to μ_k by their coordinates. Of a Gaussian a tangent is x ↦ a + S(x − m), S
symmetric, with ‖·‖² = |a|² + tr(SΣS) and exp: m + a, (I + S)Σ(I + S), the geodesic of W₂. Of
particles, such as of a flow in the metric `Stein`, it is a vector at each, with the norm of L²(μ).
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .._custom_types import Positive
from .._numerics._anderson import mixing_weights
from .._numerics._cubature import factor
from .._numerics._matrix import lyapunov
from ..measures import Gaussian, Particles
from ..measures._base import replace
from ._base import AbstractScheme, unwrapped


class AndersonMixing(AbstractScheme):
    """Accelerated descent of any deterministic flow of `Particles` or of a `Gaussian`.

    It finds the rest of a flow, in few steps, and not its path. With `memory=0` it is Riemannian
    gradient descent. Local: start it near, or after a run without. The memory begins anew at each
    of the run's `ts`; an `event` ends the run at rest.

    **Arguments:** `tau`: the step τ, the `dt` of the run. `memory`: how many steps are mixed.

    !!! example

        `simulate(flow, mu, [0, 20], solver=AndersonMixing(1.0, 5))` takes 20 steps.
    """

    tau: Positive
    memory: int = 5

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        if not isinstance(y0, Gaussian) and not (isinstance(y0, Particles) and y0.log_w is None):
            raise ValueError(
                f"AndersonMixing was given {type(y0).__name__}; it moves a Gaussian, or Particles "
                "whose masses stay."
            )
        if not isinstance(unwrapped(terms), diffrax.ODETerm):
            raise ValueError(
                "AndersonMixing was given noise, and has no rest to find. Start from a Gaussian, "
                "or take a deterministic flow such as one in the metric Stein()."
            )
        r = jnp.zeros_like(_tangent(y0, y0))
        past = jnp.zeros((self.memory, r.size), r.dtype)
        return r, r, past, past, jnp.zeros((), jnp.int32)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        last_move, last_r, moves, changes, count = solver_state
        r = _tangent(y0, terms.vf(t0, y0, args))
        tau = jnp.asarray(t1 - t0, r.dtype)
        move = tau * r
        if self.memory:
            slot = (count - 1) % self.memory
            keep = lambda a, b: jnp.where(count > 0, a.at[slot].set(b), a)  # noqa: E731
            moves, changes = keep(moves, last_move), keep(changes, r - last_r)
            frame = _frame(y0)
            theta = mixing_weights(jax.vmap(frame)(changes), frame(r))
            move = move - theta @ (moves + tau * changes)
        y1 = _exponential(y0, move)
        state = (move, r, moves, changes, count + 1)
        return y1, None, dict(y0=y0, y1=y1), state, diffrax.RESULTS.successful


def _tangent(y, drift):
    """A drift as coordinates of a tangent vector."""
    if isinstance(y, Gaussian):
        return jnp.concatenate([drift.m, lyapunov(y.cov, drift.cov).ravel()])
    return ravel_pytree(drift.x)[0]


def _exponential(y, move):
    if not isinstance(y, Gaussian):
        flat, unravel = ravel_pytree(y.x)
        return replace(y, x=unravel(flat + move))
    d = y.m.size
    step = jnp.eye(d, dtype=move.dtype) + move[d:].reshape(d, d)
    return replace(y, m=y.m + move[:d], cov=step @ y.cov @ step.T)


def _frame(mu):
    """What takes tangent vectors to coordinates in which their norm is Euclidean."""
    if isinstance(mu, Gaussian):
        d, root = mu.m.size, factor(mu.cov)
        return lambda v: jnp.concatenate([v[:d], (v[d:].reshape(d, d) @ root).ravel()])
    weights = jnp.sqrt(jnp.exp(mu.log_weights()))
    unravel = ravel_pytree(mu.x)[1]
    scale = jax.vmap(lambda w, x: jax.tree.map(lambda a: w.astype(a.dtype) * a, x))
    return lambda v: ravel_pytree(scale(weights, unravel(v)))[0]

"""Descent from the best point by derivatives, between walls: the method of Broyden, Fletcher,
Goldfarb and Shanno on the coordinates that no wall holds.

    x⁺ = P(x − t H ∇f),      H⁺ = (1 − ρ s yᵀ) H (1 − ρ y sᵀ) + ρ s sᵀ,   ρ = 1/⟨s, y⟩

with s = x⁺ − x and y = ∇f(x⁺) − ∇f(x); P clips to the walls, and t is halved until f falls.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from .._numerics import jitted
from ..measures import Particles
from ..noise._noise import floating
from ..spaces import Euclidean
from ..systems.consensus import MirrorConsensus
from ._result import OptimizeResult, finished
from ._roles import leader
from ._setup import Prepared

_FALL = 1e-4
"""The share of the fall that the slope promises, which a step must keep."""


def kept_for(polish: str, prepared: Prepared) -> Any:
    """Evaluations that are kept for the polish, of all of the budget."""
    search, points = prepared.search, prepared.points
    if polish != "bfgs":
        raise ValueError(f'`polish` is {polish!r}; it is "bfgs" or None.')
    flat = isinstance(points, Particles) and isinstance(points.space, Euclidean)
    if prepared.host is not None or search.domain.residual is not None or not flat:
        raise ValueError(
            "`polish` descends by derivatives between walls: it wants an objective that JAX can "
            "trace, and no `constraints` or `space`; leave it out."
        )
    if search.role.own or search.pair or isinstance(leader(search.method), MirrorConsensus):
        raise ValueError("`polish` is for one objective, and no mirror map; leave it out.")
    place = search.role.place(search.method, points.x)
    size = sum(a[0].size for a in jax.tree.leaves(floating(place)))
    return jnp.minimum(search.budget // 5, 100 * (size + 1))


class Descent(NamedTuple):
    """Where a descent stands: place, value, slope, the inverse of the curvature, length of step."""

    x: Float[Array, " d"]
    value: Float[Array, ""]
    slope: Float[Array, " d"]
    inverse: Float[Array, "d d"]
    length: Float[Array, ""]
    nfev: Int[Array, ""]
    more: Bool[Array, ""]


def polished(prepared: Prepared, result: OptimizeResult, room: Any) -> OptimizeResult:
    """The result, descended from with `room` evaluations; a value and a slope are one each."""
    search = prepared.search
    here, unravel = ravel_pytree(floating(result.x))
    if search.domain.walls is None:
        low, high = jnp.full_like(here, -jnp.inf), jnp.full_like(here, jnp.inf)
    else:
        low, high = (ravel_pytree(floating(a))[0].astype(here.dtype) for a in search.domain.walls)
    first = jnp.maximum(result.spread, jnp.finfo(here.dtype).eps ** 0.5)
    flat = Flat(prepared.one, result.x)
    end = descended(flat, result.fun, low, high, first, jnp.int32(room), search.target)
    x = eqx.combine(unravel(end.x), result.x)
    status = jnp.where(end.value <= search.target, 2, result.status)
    success = finished(status, end.value)
    return dataclasses.replace(
        result, x=x, fun=end.value, nfev=result.nfev + end.nfev, status=status, success=success
    )


class Flat(eqx.Module):
    """An objective as a function of the float numbers of a point."""

    objective: Callable[..., Any]
    point: Any

    def __call__(self, z):
        unravel = ravel_pytree(floating(self.point))[1]
        return jnp.asarray(self.objective(eqx.combine(unravel(z), self.point)), z.dtype)


@jitted
def descended(
    objective: Flat,
    value: Float[Array, ""],
    low: Float[Array, " d"],
    high: Float[Array, " d"],
    first: Float[Array, ""],
    room: Int[Array, ""],
    target: Float[Array, ""],
) -> Descent:
    """Descends until the room for evaluations, the slope or the digits are at their end.

    `first` is the length of the first step.
    """
    x = ravel_pytree(floating(objective.point))[0]
    eps = jnp.finfo(x.dtype).eps

    def free_slope(x, slope):
        """The slope, without coordinates that a wall holds."""
        held = ((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0))
        return jnp.where(held, 0, slope)

    def step(at: Descent) -> Descent:
        free = free_slope(at.x, at.slope)
        push = -jnp.where(free == 0, 0, at.inverse @ free)
        push = jnp.where(push @ free < 0, push, -free)
        trial = jnp.clip(at.x + at.length * push, low, high)
        value, slope = jax.value_and_grad(objective)(trial)
        moved, change = trial - at.x, slope - at.slope
        promised = at.slope @ moved
        lower = (value <= at.value + _FALL * promised) & (value < at.value)
        lower = lower & jnp.all(jnp.isfinite(slope))
        # The parabola through value and slope here and the value there.
        bend = jnp.where(value - at.value - promised > 0, value - at.value - promised, jnp.inf)
        shorter = jnp.clip(-promised / (2 * bend), 0.1, 0.5)
        shorter = jnp.where(jnp.isfinite(shorter), shorter, 0.1)
        tiny = jnp.max(jnp.abs(moved)) <= eps * (1 + jnp.max(jnp.abs(at.x)))
        nfev = at.nfev + 2
        here = Descent(
            x=jnp.where(lower, trial, at.x),
            value=jnp.where(lower, value, at.value),
            slope=jnp.where(lower, slope, at.slope),
            inverse=jnp.where(lower, _curved(at.inverse, moved, change), at.inverse),
            length=jnp.where(lower, 1, at.length * shorter),
            nfev=nfev,
            more=(lower | ~tiny) & (nfev + 2 <= room),
        )
        done = (here.value <= target) | ~jnp.any(free_slope(here.x, here.slope) != 0)
        return here._replace(more=here.more & ~done)

    possible = jnp.isfinite(value) & (value > target) & (room >= 3)
    slope = jax.lax.cond(possible, jax.grad(objective), jnp.zeros_like, x)
    size = jnp.linalg.norm(free_slope(x, slope))
    safe = jnp.where(size > 0, size, 1)
    begin = Descent(
        x=x,
        value=value,
        slope=slope,
        inverse=jnp.eye(x.size, dtype=x.dtype) * first / safe,
        length=jnp.ones((), x.dtype),
        nfev=jnp.int32(possible),
        more=possible & (size > 0) & jnp.isfinite(size),
    )
    return jax.lax.while_loop(lambda at: at.more, step, begin)


def _curved(inverse: Array, moved: Array, change: Array) -> Array:
    """The inverse of the curvature that takes `change` to `moved`, where it stays positive."""
    curvature = moved @ change
    good = curvature > jnp.finfo(moved.dtype).eps * jnp.linalg.norm(moved) * jnp.linalg.norm(change)
    rho = jnp.where(good, 1 / jnp.where(good, curvature, 1), 0)
    left = jnp.eye(moved.size, dtype=moved.dtype) - rho * jnp.outer(moved, change)
    return jnp.where(good, left @ inverse @ left.T + rho * jnp.outer(moved, moved), inverse)

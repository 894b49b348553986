"""Draws from interpolants, which regressions learn from: times, points, and how the points move."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..._custom_types import FloatScalar, PRNGKey
from ...measures import Particles
from ...measures._base import concrete
from ._checks import check_takes
from ._draws import normals, uniforms
from ._schedules import Schedule, moving

Field = Callable[[FloatScalar, Array], Array]
Pairing = Callable[[Particles, Particles], Float[Array, "n n"]]


class Path(NamedTuple):
    """n draws: times t (or `None`), points I_t, their velocities İ_t, and the ends X_0 and X_1."""

    t: Any
    point: Float[Array, "n d"]
    velocity: Float[Array, "n d"]
    source: Float[Array, "n d"]
    target: Float[Array, "n d"]


def quiet(schedule: Schedule) -> bool:
    """Whether γ is known to be 0 at all times, so that no noise needs to be drawn."""
    if not concrete(schedule):
        return False
    with jax.ensure_compile_time_eval():
        square = jax.vmap(lambda t: jnp.asarray(schedule(t)[2]))(jnp.linspace(0.1, 0.9, 9))
        return concrete(square) and bool(jnp.all(square == 0))


def paired(
    pairing: Pairing, key: PRNGKey, x: Float[Array, "n d"], y: Float[Array, "n d"]
) -> Int[Array, " n"]:
    """Positions of partners of the x among the y, drawn from the rows of a minibatch's plan.

    Past the last where a row holds no masses, so that `at` gives NaN.
    """
    plan = jax.lax.stop_gradient(pairing(Particles(x), Particles(y)))
    if plan.shape != (len(x), len(y)):
        raise ValueError(
            f"`pairing` returned shape {plan.shape} for two batches of {len(x)}; give the masses "
            "of pairs, as `coupling` does."
        )
    index = jax.random.categorical(key, jnp.log(plan), axis=1)
    whole = jnp.all(plan >= 0, axis=1) & (jnp.sum(plan, axis=1) > 0)
    return jnp.where(whole, index, len(y))


def given_pairs(source, target, given: str) -> Int[Array, " k"]:
    """0, …, n − 1 for two measures of n atoms, whose masses are equal."""
    if given != "pairs":
        raise ValueError(f'`coupling` is {given!r}; give "pairs", a plan, a covariance or None.')
    plain = all(isinstance(m, Particles) and m.log_w is None for m in (source, target))
    if not plain or source.size() != target.size():
        raise ValueError(
            '`coupling` is "pairs", which needs Particles of equal number, without `log_w`.'
        )
    return jnp.arange(source.size(), dtype=jnp.int32)


def interpolate(
    schedule: Schedule, key: PRNGKey, x: Float[Array, "n d"], y: Float[Array, "n d"]
) -> Path:
    """Points between the ends x and y at uniform times."""
    times, noise = jax.random.split(key)
    ts = uniforms(times, len(x), x.dtype)
    silent = quiet(schedule)
    z = jnp.zeros_like(x) if silent else normals(noise, x)

    def one(t, x, y, z):
        (alpha, beta, square), (alpha_dot, beta_dot, square_dot) = moving(schedule, t)
        here, there = alpha * x + beta * y, alpha_dot * x + beta_dot * y
        if silent:
            return here, there
        still = square <= 0
        gamma = jnp.sqrt(jnp.where(still, 1, square))
        here = here + jnp.where(still, 0, gamma) * z
        return here, there + jnp.where(still, 0, square_dot / (2 * gamma)) * z

    here, there = jax.vmap(one)(ts, x, y, z)
    return Path(ts, here, there, x, y)


def values(field: Callable, name: str, like: Float[Array, "n d"], *points: Any) -> Array:
    """The values of a field at n points, which have the shape of `like`."""
    check_takes(field, name, len(points))
    found = jax.vmap(field)(*points)
    if getattr(found, "shape", None) != like.shape:
        raise ValueError(
            f"`{name}` returned values of shape {jax.tree.map(jnp.shape, found)} at "
            f"{len(like)} points of shape {like.shape[1:]}; return one vector of that shape."
        )
    return found


def drawn(interpolant: Any, key: PRNGKey, n: int, *pairing: Any) -> Path:
    """`n` draws of an interpolant, or of another system that has a `path`."""
    if not hasattr(interpolant, "path"):
        raise ValueError(
            f"`interpolant` is {type(interpolant).__name__}; give a StochasticInterpolant, or "
            "another flow that draws points of its own."
        )
    return interpolant.path(key, n, *pairing)

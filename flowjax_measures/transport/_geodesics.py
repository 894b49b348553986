r"""Displacement interpolation: the W₂ geodesic between two measures ([mccann1997]).

μ_t = (exp_x(t log_x y))_# π,   π the optimal plan;   in flat space (1 − t) x + t y
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._custom_types import FloatScalar, Point
from .._numerics import checked
from .._numerics._checks import within
from ..energies._bures import bures_coupling
from ..energies._ground import space_of
from ..measures import AbstractMeasure, Gaussian, Particles
from ..noise._noise import floating
from ..spaces import AbstractSpace
from ..spaces._product import is_flat
from ._exact import coupling
from ._masses import comparable


@checked
def mccann(mu: AbstractMeasure, nu: AbstractMeasure, t: FloatScalar) -> AbstractMeasure:
    """The W₂ geodesic from `mu` at t = 0 to `nu` at t = 1, along geodesics of their `space`.

    Between Gaussians a Gaussian, singular ones included. Between particles the particles of the
    optimal plan: n of them for n and n of equal weight, n·m of which many have mass 0 otherwise.

    **Raises:** `ValueError` for a space whose geodesics have no closed form, and for `t` outside of
    [0, 1] (NaN where it is traced).

    !!! example

        `fm.mccann(mu, nu, 0.5)` lies half-way: both `fm.wasserstein` to it are the same.
    """
    comparable(mu, nu)
    t = within("t", t, 0.0, 1.0)
    if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
        cross = (1 - t) * t * bures_coupling(mu, nu)
        cov = (1 - t) ** 2 * mu.cov + t**2 * nu.cov + cross + cross.T
        return Gaussian((1 - t) * mu.m + t * nu.m, (cov + cov.T) / 2)
    space = geodesic_space(mu, nu)
    return along(mu, nu, coupling(mu, nu), lambda x, y: between(space, x, y, t))


def geodesic_space(mu: AbstractMeasure, nu: AbstractMeasure) -> AbstractSpace:
    """The space of both measures, where geodesics between its points are known."""
    space = comparable(mu, nu)
    if not is_flat(space):
        missing = [name for name in ("exponential", "logarithm") if not hasattr(space, name)]
        if missing:
            raise ValueError(
                f"The `space` is {space}, which has no {missing[-1]} in closed form; geodesics are "
                "known in flat space, on tori, on spheres and on their products."
            )
    return space


def kept_space(mu: AbstractMeasure, nu: AbstractMeasure) -> AbstractSpace:
    """The space that a result carries: as it was given, not as its distances are read."""
    given = [m.space for m in (mu, nu) if isinstance(m, Particles)]
    return given[0] if given else space_of(mu)


def between(space: AbstractSpace, x: Point, y: Point, t: FloatScalar) -> Point:
    """The point at the share t of the way from x to y; labels are those of x."""
    if is_flat(space):
        step = lambda a, b: a if a is None else (1 - t) * a + t * b  # noqa: E731
        moved = jax.tree.map(step, floating(x), floating(y), is_leaf=lambda a: a is None)
        return eqx.combine(moved, x)
    known: Any = space
    tangent = known.logarithm(x, y)
    return known.exponential(x, jax.tree.map(lambda v: t * v, tangent))


def along(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    plan: Float[Array, "n m"],
    move: Callable[[Point, Point], Point],
) -> Particles:
    """The pairs of a plan, moved: n for n and n particles of equal weight, else n·m."""
    space = kept_space(mu, nu)
    x, y = mu.atoms()[0], nu.atoms()[0]
    equal = all(isinstance(m, Particles) and m.log_w is None for m in (mu, nu))
    if equal and plan.shape[0] == plan.shape[1]:
        return Particles(jax.vmap(move)(x, assigned(plan, y)), space=space)
    pairs = jax.vmap(lambda p: jax.vmap(lambda q: move(p, q))(y))(x)
    points = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), pairs)
    return Particles(points, jnp.log(plan.ravel()), space=space)


def assigned(plan: Float[Array, "n n"], y: PyTree) -> PyTree:
    """The point that each row of a permutation is sent to; NaN where there is no plan."""
    found = jax.tree.map(lambda a: a[jnp.argmax(plan, axis=1)], y)
    known = jnp.all(jnp.isfinite(plan))

    def keep(a):
        return jnp.where(known, a, jnp.nan) if jnp.issubdtype(a.dtype, jnp.inexact) else a

    return jax.tree.map(keep, found)

r"""Exact transport: W_p on the line and the circle, of Gaussians, and of atoms on any space.

W_p(μ, ν) = ( min_π ∫ d(x, y)^p dπ )^{1/p},   d the distance of the measures' space
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Point
from .._numerics import checked, jitted, safe_power, safe_sqrt
from .._numerics._checks import check_positive
from ..energies._bures import bures
from ..energies._ground import is_circle, located, points_of, powers
from ..energies._sliced import matched
from ..measures import AbstractMeasure, Gaussian, GridDensity
from ..measures._base import concrete
from ..noise._noise import floating
from ..spaces import AbstractSpace, Euclidean, Torus
from ..spaces._product import is_flat
from ._circle import circle_power
from ._host_pairs import Sparse
from ._large import NO_INFINITE, large_plan, large_value
from ._line import Pieces, gaussian_line_square, line_power, pieces
from ._masses import comparable
from ._plans import optimal_plan, optimal_value

Cost = Callable[[Point, Point], FloatScalar] | Float[Array, "n m"]
"""What a pair costs: a function of two points, or the matrix of all pairs."""


@checked
def wasserstein(
    mu: AbstractMeasure, nu: AbstractMeasure, p: float | int = 2, *, cost: Cost | None = None
) -> FloatScalar:
    r"""The Wasserstein distance W_p itself, not its power, exactly.

    Distances are those of the measures' `space`. Gaussians with p = 2: closed form. On the line:
    quantile functions, in which a cell of a grid is spread evenly. On the circle: by sorting.
    Else the atoms, by POT's network simplex, 0.1 s for a thousand; beyond 4096 of each without a
    table of their costs, half a minute for 10⁴ in the plane. Compiled (in `jit` or `vmap`), by
    shortest paths, a thousand of equal mass in 0.15 s and some hundreds else. Differentiable in
    points and weights, to first order.

    **Arguments:** `mu`, `nu`: measures of equal mass, divided by it. `p` ≥ 1. `cost`: c(x, y) in
    place of d(x, y)^p, a function of two points or a matrix, shape (n, m); the value is then
    (min_π ∫ c dπ)^{1/p}, with p = 1 the least cost itself.

    **Raises:** `ValueError` where the masses differ by more than 1%, where points or spaces don't
    agree, and for a Gaussian beside anything else, unless on the line with p = 2.

    !!! example

        `fm.wasserstein(fm.Particles(x), fm.Particles(y), 1)` is W₁ of two clouds.
    """
    space = comparable(mu, nu)
    check_positive("p", p, 1)
    p = float(p)
    if cost is not None:
        return _of_atoms(mu, nu, space, p, cost)
    gaussians = [m for m in (mu, nu) if isinstance(m, Gaussian)]
    if len(gaussians) == 2 and p == 2:
        return _bures_distance(mu, nu)
    if len(gaussians) == 1 and p == 2 and _dimension(mu) == 1:
        return _gaussian_line(nu if gaussians[0] is mu else mu, gaussians[0])
    if gaussians:
        raise ValueError(
            f"`p` is {p:g}, and a measure is a Gaussian; only p = 2 has a closed form, between two "
            "Gaussians or on the line. Give samples, Particles(mu.sample(key, n))."
        )
    if is_flat(space) and _dimension(mu) == 1:
        return _line(mu, nu, p)
    if is_circle(space, mu):
        return _circle(mu, nu, space, p)  # pyright: ignore
    return _of_atoms(mu, nu, space, p, None)


@checked
def coupling(
    mu: AbstractMeasure, nu: AbstractMeasure, p: float | int = 2, *, cost: Cost | None = None
) -> Float[Array, "n m"]:
    r"""An optimal plan of W_p between the atoms of two measures: masses π_ij; not differentiable.

    Its sums over columns and rows are the masses of μ and ν, whatever their total.

    **Arguments, raises:** as `wasserstein`. The atoms of a grid are the centres of its cells; a
    Gaussian has none.

    !!! example

        `fm.coupling(mu, nu, cost=lambda x, y: jnp.abs(x - y).sum())` is a plan for the l¹ cost.
    """
    space = comparable(mu, nu)
    check_positive("p", p, 1)
    for m in (mu, nu):
        if isinstance(m, Gaussian):
            raise ValueError(
                "A Gaussian has no atoms to couple; take `bures_map` or `mccann` between "
                "Gaussians, or samples, Particles(mu.sample(key, n))."
            )
    found = _large(mu, nu, space, float(p), cost)
    if found is None:
        plan = _plan(mu, nu, space, p, cost)
    else:
        table = np.zeros((found.f.size, found.g.size), mu.atoms()[1].dtype)
        table[found.i, found.j] = found.mass
        plan = jnp.asarray(table) + 0 * jnp.sum(jnp.asarray(found.f, table.dtype))
    return plan * jnp.sum(jnp.exp(mu.atoms()[1])).astype(plan.dtype)


def _plan(mu, nu, space: AbstractSpace, p, cost: Cost | None):
    problem = jax.lax.stop_gradient(_problem(mu, nu, space, p, cost))
    return optimal_plan(*problem, matched=matched(mu, nu))[0]


def _of_atoms(mu, nu, space: AbstractSpace, p: float, cost: Cost | None) -> FloatScalar:
    found = _large(mu, nu, space, p, cost)
    if found is None:
        power = optimal_value(*_problem(mu, nu, space, p, cost), matched=matched(mu, nu))
    else:
        power = large_value(mu, nu, space, p, cost, found)
    return _root(power, 1 / p)


# Compiled it is one call instead of five.
_root = jax.jit(safe_power)


def _large(mu, nu, space: AbstractSpace, p: float, cost: Cost | None) -> Sparse | None:
    """The plan of measures whose table of costs is better not made."""
    if callable(cost):
        # One pair says whether it is a cost.
        x, y = (jax.tree.map(lambda a: a[:1], m.atoms()[0]) for m in (mu, nu))
        cost_matrix(cost, x, y, (1, 1))
    return large_plan(mu, nu, space, p, cost)


def _problem(mu, nu, space: AbstractSpace, p, cost: Cost | None) -> Any:
    """The matrix of costs and the masses."""
    if cost is None:
        return _powers(mu, nu, space, p)
    return _given(mu, nu, cost)


def costs_and_masses(mu, nu, space: AbstractSpace, p: float, cost: Cost | None) -> Any:
    """The matrix of costs, and the masses that the measures have."""
    matrix = _powers(mu, nu, space, p)[0] if cost is None else _given(mu, nu, cost)[0]
    return matrix, jnp.exp(mu.atoms()[1]), jnp.exp(nu.atoms()[1])


@jitted
def _powers(mu, nu, space, p):
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    return powers(space, x, y, p), jnp.exp(log_a), jnp.exp(log_b)


def _given(mu, nu, cost: Cost):
    (x, log_a), (y, log_b) = mu.atoms(), nu.atoms()
    a, b = jax.nn.softmax(log_a), jax.nn.softmax(log_b)
    return cost_matrix(cost, x, y, (a.size, b.size)), a, b


def cost_matrix(cost: Cost, x: Any, y: Any, shape: tuple[int, int]) -> Float[Array, "n m"]:
    """The costs of all pairs, of a function or a matrix; refused where they are none."""
    if callable(cost):
        matrix = jax.vmap(lambda p: jax.vmap(lambda q: jnp.asarray(cost(p, q)))(y))(x)
    else:
        matrix = jnp.asarray(cost)
    if matrix.shape != shape or not jnp.issubdtype(matrix.dtype, jnp.inexact):
        raise ValueError(
            f"`cost` gives {matrix.dtype} of shape {matrix.shape} for {shape[0]} and {shape[1]} "
            "atoms; give a floating-point matrix of that shape, or a function of two points with "
            "values that are numbers."
        )
    if concrete(matrix) and bool(jnp.any(jnp.isinf(matrix))):
        raise ValueError(NO_INFINITE)
    return matrix


@jitted
def _bures_distance(mu, nu):
    return safe_sqrt(bures(mu, nu))


@jitted
def _gaussian_line(mu, nu):
    return safe_sqrt(gaussian_line_square(_pieces(mu), nu))


@jitted
def _line(mu, nu, p):
    return safe_power(line_power(_pieces(mu), _pieces(nu), p), 1 / p)


@jitted
def _circle(mu, nu, space: Torus, p):
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    one, two = (
        pieces(space.nearest(points)[:, 0], jnp.exp(log_w))
        for points, log_w in ((x, log_a), (y, log_b))
    )
    length = jnp.reshape(jnp.asarray(space.length, x.dtype), ())
    return safe_power(circle_power(one, two, length, p), 1 / p)


def _pieces(mu: AbstractMeasure) -> Pieces:
    points, log_w = located(mu, Euclidean())
    width = mu.spacing[0] if isinstance(mu, GridDensity) else 0.0
    return pieces(points[:, 0], jnp.exp(log_w), width)


def _dimension(mu: AbstractMeasure) -> int:
    if isinstance(mu, Gaussian):
        return mu.m.size
    points = jax.tree.leaves(floating(points_of(mu)))
    return sum(math.prod(a.shape[1:]) for a in points)

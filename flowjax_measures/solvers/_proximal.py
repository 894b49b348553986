r"""The implicit step of Wasserstein geometry, by Newton's method.

    x_k = exp_x(−τ v(x)) of particles,   T⁻¹ = I − τA of Gaussians,   ρ_k = ρ − τ ρ̇ of grids

is what the end μ of a step solves, with v, A and ρ̇ the rates of the flow at μ itself: then μ_k is
the image of μ under the geodesics backwards, which is the optimality of a minimising movement.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import gmres

from .._custom_types import Point, Velocity
from .._numerics._matrix import lyapunov
from ..measures import Gaussian, Particles
from ..measures._base import is_measure, replace
from ..spaces import AbstractSpace, Box, Product, Torus
from ..spaces._product import is_flat

# Unknowns up to which Newton's equation is solved by a matrix; beyond, products between restarts,
# and the number of restarts.
_DENSE, _RESTART, _ROUNDS = 500, 60, 20


def proximal(y0: Any, start: Any, velocity: Callable, h: Any, max_steps: int) -> Any:
    """The end y of an implicit step y0 → y, NaN where none is found.

    `y0` is what moves of the measure `start`, or of a dict of measures; `velocity(y)` is its time
    derivative.
    """
    each = functools.partial(jax.tree.map, is_leaf=is_measure)
    flat, unravel = ravel_pytree(each(_unknown, y0))

    def residual(z, _):
        z = unravel(z)
        y = each(_reached, start, y0, z)
        errors = each(functools.partial(_error, h), start, y0, z, y, velocity(y))
        return ravel_pytree(errors)[0]

    # Newton squares its error: beyond this tolerance a step is exact.
    tolerance = float(jnp.finfo(flat.dtype).eps) ** 0.75
    if flat.size > _DENSE:
        # No matrix of so many unknowns; Newton's method forgives what is left of its equation.
        solver = _Products(float(jnp.finfo(flat.dtype).eps) ** 0.5)
    else:
        solver = lx.AutoLinearSolver(well_posed=None)
    newton = optx.Newton(tolerance, tolerance, linear_solver=solver)
    root = optx.root_find(residual, newton, flat, max_steps=max_steps, throw=False)
    solved = root.result == optx.RESULTS.successful
    return each(_reached, start, y0, unravel(jnp.where(solved, root.value, jnp.nan)))


class _Products(lx.AbstractLinearSolver):
    """GMRES that ends with the product that is enough, and not with a whole round of them."""

    tolerance: float

    def init(self, operator, options):
        return operator

    def compute(self, state, vector, options):
        found, _ = gmres(
            state.mv, vector, tol=self.tolerance, restart=_RESTART, maxiter=_ROUNDS,
            solve_method="incremental",
        )  # fmt: skip
        return found, lx.RESULTS.successful, {}

    def transpose(self, state, options):
        return state.T, options

    def conj(self, state, options):
        return lx.conj(state), options

    def assume_full_rank(self):
        return True


def _unknown(y0):
    """What is solved for: vectors of which the points are the nearest, the density, or a Gaussian's
    mean and, in the place of Σ, the optimal map T with Σ = T Σ_k T and T⁻¹ = I − τA. In Σ itself
    Newton's method leaves the cone; in T the equation is nearly linear.
    """
    return replace(y0, cov=jnp.eye(y0.m.size, dtype=y0.m.dtype)) if _is_gaussian(y0) else y0


def _reached(start, y0, z):
    """The end of the step, by the unknown."""
    if isinstance(start, Particles):
        return replace(z, x=jax.vmap(functools.partial(_foot, start.space))(z.x))
    if not _is_gaussian(y0):
        return z
    step = (z.cov + z.cov.T) / 2
    return replace(y0, m=z.m, cov=step @ y0.cov @ step)


def _error(h, start, y0, z, y, drift):
    """What vanishes where the step y0 → y has the velocity of its end."""
    plain = jax.tree.map(lambda a, b, c: a - jnp.asarray(h, a.dtype) * b - c, z, drift, y0)
    if isinstance(start, Particles):
        back = jax.tree.map(lambda v: -jnp.asarray(h, v.dtype) * v, drift.x)
        miss = functools.partial(_miss, start.space)
        return replace(plain, x=jax.vmap(miss)(z.x, y.x, back, y0.x))
    if not _is_gaussian(y0):
        return plain
    identity = jnp.eye(y0.m.size, dtype=y0.m.dtype)
    h, step = jnp.asarray(h, y0.m.dtype), (z.cov + z.cov.T) / 2
    # AΣ + ΣA = Σ̇ is the equation of a square root's derivative, with Σ for the root.
    product = (identity - h * lyapunov(y.cov, drift.cov)) @ step
    # The symmetric part of T is asked to solve, the skew part to vanish.
    error = (product + product.T) / 2 - identity + (z.cov - z.cov.T) / 2
    return replace(y0, m=z.m - h * drift.m - y0.m, cov=error)


def _foot(space: AbstractSpace, z: Point) -> Point:
    """The nearest point; a minimum on a box may lie on a wall, and is never a reflection."""
    if isinstance(space, Product):
        return jax.tree.map(_foot, space.spaces, z, is_leaf=_is_space)
    if isinstance(space, Box):
        return jnp.clip(z, jnp.asarray(space.lower, z.dtype), jnp.asarray(space.upper, z.dtype))
    return space.nearest(z)


def _miss(space: AbstractSpace, z: Point, x: Point, back: Velocity, start: Point) -> Point:
    """From `start` to the end of the geodesic from x with the tangent `back`.

    On a curved space z is held to its foot x. On a convex set z − x is a force of its walls.
    """
    if isinstance(space, Product):
        parts = (space.spaces, z, x, back, start)
        return jax.tree.map(_miss, *parts, is_leaf=_is_space)
    if is_flat(space) or isinstance(space, Box | Torus):
        return jax.tree.map(lambda a, b, c: a + b - c, z, back, start)
    if not hasattr(space, "exponential"):
        raise ValueError(
            f"The `space` is {space}, whose geodesics have no closed form; implicit steps are "
            "known in flat space, in boxes, on tori, spheres, Stiefel manifolds and their products."
        )
    known: Any = space
    return known.exponential(x, back) + (z - x) - start


def _is_space(node) -> bool:
    return isinstance(node, AbstractSpace)


def _is_gaussian(y) -> bool:
    return isinstance(y, Gaussian)

"""Where a minimum may be: between walls, and where constraints hold."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .._custom_types import Point
from ..noise._noise import floating
from ..systems.consensus import EqualityConstraint


class Domain(eqx.Module):
    """Walls and constraints; places have a leading axis n.

    - `walls`: lower and upper, of the structure of a point's float leaves; `None` is everywhere.
    - `boundary`: "clip" puts on the wall what left, "reflect" folds it back.
    - `residual`: function of a point to numbers that are 0 where the constraints hold, or `None`.
    """

    walls: tuple[PyTree, PyTree] | None
    boundary: str = eqx.field(static=True, default="clip")
    residual: Callable[[Point], Float[Array, " m"]] | None = None

    def inside(self, x: PyTree) -> PyTree:
        """The places, brought between the walls."""
        if self.walls is None:
            return x
        return _between(_folded if self.boundary == "reflect" else jnp.clip, x, self.walls)

    def nearest(self, x: PyTree, rounds: int = 4) -> PyTree:
        """The places, brought between the walls and by Newton's steps onto the constraints."""
        if self.residual is None:
            return self.inside(x)
        residual = self.residual
        onto = jax.vmap(lambda y: _newton(residual, y))
        return jax.lax.fori_loop(0, rounds, lambda _, x: self.inside(onto(x)), x)

    def violation(self, x: PyTree) -> Float[Array, " n"]:
        """The largest residual at each place."""
        if self.residual is None:
            leaf = jax.tree.leaves(floating(x))[0]
            return jnp.zeros(leaf.shape[0], leaf.dtype)
        residual = self.residual
        return jax.vmap(lambda y: jnp.max(jnp.abs(residual(y))))(x)


def _newton(residual: Callable, x: Point) -> Point:
    """The shortest step on which the linearised residual vanishes."""
    here, unravel = ravel_pytree(floating(x))
    values = lambda z: residual(eqx.combine(unravel(z), x))  # noqa: E731
    g, slopes = values(here), jax.jacobian(values)(here)
    gram = slopes @ slopes.T
    # Constraints that hold have no slope here, equal ones have the same.
    ridge = jnp.finfo(g.dtype).eps ** 0.75 * jnp.trace(gram) + jnp.finfo(g.dtype).tiny
    push = jnp.linalg.solve(gram + ridge * jnp.eye(g.size, dtype=g.dtype), g)
    return eqx.combine(unravel(here - slopes.T @ push), x)


def _between(fold: Callable, x: PyTree, walls: tuple[PyTree, PyTree]) -> PyTree:
    floats, labels = floating(x), eqx.filter(x, eqx.is_inexact_array, inverse=True)
    return eqx.combine(jax.tree.map(fold, floats, *walls), labels)


def _folded(x: Array, low: Array, high: Array) -> Array:
    """Reflected at both walls, as often as it takes; at one where the other is infinite."""
    both, width = jnp.isfinite(low) & jnp.isfinite(high), high - low
    safe = jnp.where(both & (width > 0), width, 1)
    z = jnp.mod(x - jnp.where(both, low, 0), 2 * safe)
    folded = jnp.where(both, low, 0) + jnp.minimum(z, 2 * safe - z)
    one = jnp.where(x < low, 2 * low - x, jnp.where(x > high, 2 * high - x, x))
    return jnp.clip(jnp.where(both, folded, one), low, high)


def residual_of(constraints: Any) -> Callable[[Point], Float[Array, " m"]] | None:
    """One function that is zero where all constraints hold, from what users give.

    An inequality h(x) ≥ 0 is the residual max(−h, 0).
    """
    if constraints is None:
        return None
    given = constraints if isinstance(constraints, Sequence) else [constraints]
    parts = [_residual(constraint) for constraint in given]
    if not parts:
        return None
    return lambda x: jnp.concatenate([part(x) for part in parts])


def _residual(constraint: Any) -> Callable[[Point], Float[Array, " m"]]:
    if isinstance(constraint, EqualityConstraint):
        return lambda x: jnp.ravel(constraint.constraint(x))
    if isinstance(constraint, dict):
        return _of_dict(constraint)
    if hasattr(constraint, "lb") and hasattr(constraint, "ub"):
        matrix = getattr(constraint, "A", None)
        if matrix is None:
            return _range(constraint.fun, constraint.lb, constraint.ub)
        matrix = np.asarray(matrix)
        return _range(lambda x: jnp.asarray(matrix, x.dtype) @ x, constraint.lb, constraint.ub)
    raise _unknown(constraint)


def _of_dict(constraint: dict) -> Callable[[Point], Float[Array, " m"]]:
    if constraint.get("type") not in ("eq", "ineq"):
        raise _unknown(constraint)
    function, args = constraint["fun"], constraint.get("args", ())
    if constraint["type"] == "eq":
        return lambda x: jnp.ravel(function(x, *args))
    return lambda x: jnp.maximum(-jnp.ravel(function(x, *args)), 0)


def _unknown(constraint: Any) -> ValueError:
    return ValueError(
        f"`constraints` holds {constraint!r}; give EqualityConstraint(g), {{'type': 'eq', 'fun': "
        "g} for g(x) = 0, {'type': 'ineq', 'fun': h} for h(x) >= 0, or scipy's "
        "NonlinearConstraint or LinearConstraint."
    )


def _range(function: Callable, low: Any, high: Any) -> Callable[[Point], Float[Array, " m"]]:
    def outside(x):
        values = jnp.ravel(function(x))
        bound = lambda b: jnp.asarray(b, values.dtype)  # noqa: E731
        return jnp.maximum(bound(low) - values, 0) - jnp.maximum(values - bound(high), 0)

    return outside

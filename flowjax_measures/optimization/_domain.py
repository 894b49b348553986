"""Where a minimum may be: between walls, and where constraints hold."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .._custom_types import Point
from .._numerics import jitted
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
    residual: "Residual | None" = None

    def inside(self, x: PyTree) -> PyTree:
        """The places, brought between the walls."""
        if self.walls is None:
            return x
        return _fold_all(_folded if self.boundary == "reflect" else jnp.clip, x, self.walls)

    @jitted
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


def _fold_all(fold: Callable, x: PyTree, walls: tuple[PyTree, PyTree]) -> PyTree:
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


class Residual(eqx.Module):
    """One function that is zero where all constraints hold; numbers in them are traced."""

    parts: tuple["_Equal | _AtLeast | _Between", ...]

    def __call__(self, x: Point) -> Float[Array, " m"]:
        return jnp.concatenate([part(x) for part in self.parts])


class _Equal(eqx.Module):
    """g(x) = 0."""

    function: Callable[..., Any]
    args: Any = ()

    def __call__(self, x):
        return jnp.ravel(self.function(x, *self.args))


class _AtLeast(eqx.Module):
    """h(x) ≥ 0, of which the residual is max(−h, 0)."""

    function: Callable[..., Any]
    args: Any = ()

    def __call__(self, x):
        return jnp.maximum(-jnp.ravel(self.function(x, *self.args)), 0)


class _Between(eqx.Module):
    """low ≤ g(x) ≤ high."""

    function: Callable[[Point], Any]
    low: Array
    high: Array

    def __call__(self, x):
        values = jnp.ravel(self.function(x))
        low, high = self.low.astype(values.dtype), self.high.astype(values.dtype)
        return jnp.maximum(low - values, 0) - jnp.maximum(values - high, 0)


class _Linear(eqx.Module):
    """x ↦ Ax."""

    matrix: Array

    def __call__(self, x):
        return self.matrix.astype(x.dtype) @ x


def residual_of(constraints: Any, others: list[EqualityConstraint]) -> Residual | None:
    """One function that is zero where all constraints hold: those that users give, and others."""
    several = constraints is None or isinstance(constraints, Sequence)
    given = [*(constraints or [] if several else [constraints]), *others]
    # A float of Python would be part of the program; as an array another one compiles nothing.
    number = lambda a: jnp.asarray(a) if type(a) is float else a  # noqa: E731
    return jax.tree.map(number, Residual(tuple(map(_residual, given)))) if given else None


def _residual(constraint: Any) -> "_Equal | _AtLeast | _Between":
    if isinstance(constraint, EqualityConstraint):
        return _Equal(constraint.constraint)
    if isinstance(constraint, dict) and constraint.get("type") in ("eq", "ineq"):
        kind = _Equal if constraint["type"] == "eq" else _AtLeast
        return kind(constraint["fun"], tuple(constraint.get("args", ())))
    if not isinstance(constraint, dict) and hasattr(constraint, "lb") and hasattr(constraint, "ub"):
        matrix = getattr(constraint, "A", None)
        function = constraint.fun if matrix is None else _Linear(jnp.asarray(matrix))
        return _Between(function, jnp.asarray(constraint.lb), jnp.asarray(constraint.ub))
    raise ValueError(
        f"`constraints` holds {constraint!r}; give EqualityConstraint(g), {{'type': 'eq', 'fun': "
        "g} for g(x) = 0, {'type': 'ineq', 'fun': h} for h(x) >= 0, or scipy's "
        "NonlinearConstraint or LinearConstraint."
    )

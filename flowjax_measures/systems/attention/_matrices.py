"""Matrices of attention: constant, functions of time, or none; one, or one for each head."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point
from ..._reduce import identity
from ...measures import AbstractMeasure
from ...measures._base import concrete

# Shapes differ between Q, K, V and O, so their axes have no common names.
Heads = Float[Array, "_ _"] | Float[Array, "_ _ _"]
Matrix = Heads | Callable[[FloatScalar], Heads] | None


def at(parameter: Any, t: FloatScalar) -> Any:
    """A matrix or vector at time t: functions are evaluated, anything else is constant."""
    return parameter(t) if callable(parameter) else parameter


def times(matrix: Any, x: Float[Array, " d"]) -> Float[Array, " _"]:
    """The matrix applied to a vector, shape (k,); `None` is the identity."""
    return x if matrix is None else matrix @ x


def second_moment(
    mu: AbstractMeasure, x: Point, left: Callable = identity, right: Callable = identity
) -> Float[Array, "_ _"]:
    """∫ left(y) right(y)ᵀ μ(dy), of any measure of points like x, as one product of matrices.

    It is the derivative of M ↦ ∫ ⟨left(y), M right(y)⟩ μ(dy). A mean of outer products writes them
    down, d² numbers a token, where the derivative of a sum in a constant of its terms is a product.
    """
    if getattr(mu, "sharding", None) is not None:
        # The ring of devices takes no derivative within the law of one point.
        return mu.mean(lambda y: jnp.outer(left(y), right(y)))
    rows, columns = jax.eval_shape(left, x), jax.eval_shape(right, x)
    bilinear = lambda m: mu.mean(lambda y: jnp.vdot(left(y), m @ right(y)))  # noqa: E731
    return jax.grad(bilinear)(jnp.zeros((rows.size, columns.size), rows.dtype))


def fitting(name: str, matrix: Any, columns: int, heads: bool = False) -> int:
    """The rows of a matrix that acts on vectors of length `columns`; `None` is the identity.

    **Raises:** `ValueError` naming a matrix that cannot act on them.
    """
    if matrix is None:
        return columns
    shape = jnp.shape(matrix)
    if len(shape) not in ((2, 3) if heads else (2,)) or shape[-1] != columns:
        raise ValueError(
            f"`{name}` has shape {shape}; it acts on vectors of length {columns}, so give it the "
            f"shape (k, {columns})" + (f" or, for h heads, (h, k, {columns})." if heads else ".")
        )
    return shape[-2]


def multiple_of_identity(name: str, matrix: Any) -> Array:
    """The number v of a matrix v I.

    **Raises:** `ValueError` naming another matrix.
    """
    v = None if callable(matrix) or jnp.ndim(matrix) != 2 else jnp.asarray(matrix)
    square = v is not None and v.shape[0] == v.shape[1]
    if v is None or not square or (concrete(v) and not np.allclose(v, v[0, 0] * np.eye(len(v)))):
        raise ValueError(f"`{name}` is to be a multiple of the identity here; give v * jnp.eye(d).")
    return jnp.trace(v) / len(v)


def evaluated(system: Any, t: FloatScalar, x: Array) -> dict[str, Any]:
    """The matrices Q, K, V, and O where there is one, of a system at time t, fit for a token x.

    **Raises:** `ValueError` naming the matrix of a wrong shape.
    """
    names = [name for name in ("query", "key", "value", "output") if hasattr(system, name)]
    matrices = {name: at(getattr(system, name), t) for name in names}
    heads = "output" in matrices
    shapes = jax.tree.map(jnp.shape, x)
    if not isinstance(x, jax.Array) or x.ndim != 1:
        raise ValueError(f"`x` has points of shape {shapes}; attention is among vectors (d,).")
    rows = {}
    for name, matrix in matrices.items():
        rows[name] = fitting(name, matrix, rows["value"] if name == "output" else x.size, heads)
    if rows["query"] != rows["key"]:
        raise ValueError(
            f"`query` has {rows['query']} rows and `key` has {rows['key']}; give them as many, for "
            "⟨Qx, Ky⟩ is an inner product."
        )
    last = "value" if matrices.get("output") is None else "output"
    if rows[last] != x.size:
        raise ValueError(
            f"`{last}` has {rows[last]} rows; a velocity of tokens in R^{x.size} needs {x.size}."
        )
    return matrices

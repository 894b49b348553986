"""Which leaves of a system are fitted, and in which unconstrained variables.

A leaf is optimised as it is, or as u = log θ (positive), or as u = log((θ − l)/(h − θ)) (bounded);
of a symmetric matrix the entries on and above the diagonal are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Parameters(eqx.Module):
    """The fitted leaves of a system, by their places among all leaves, with their constraints."""

    system: Any
    places: tuple[int, ...] = eqx.field(static=True)
    positive: tuple[bool, ...] = eqx.field(static=True)
    bounded: tuple[bool, ...] = eqx.field(static=True)
    symmetric: tuple[bool, ...] = eqx.field(static=True)
    lower: list[Array]
    upper: list[Array]

    def values(self) -> list[Array]:
        """θ: the fitted leaves of `system`, of symmetric ones the upper triangles."""
        leaves = jax.tree.leaves(self.system)
        return [
            _triangle(jnp.asarray(leaves[i], low.dtype), symmetric)
            for i, low, symmetric in zip(self.places, self.lower, self.symmetric, strict=True)
        ]

    def with_values(self, values: list[Array]) -> Any:
        """The system with the leaves θ in their places."""
        leaves, structure = jax.tree.flatten(self.system)
        for i, value, symmetric in zip(self.places, values, self.symmetric, strict=True):
            leaves[i] = _matrix(value, np.shape(leaves[i])) if symmetric else value
        return jax.tree.unflatten(structure, leaves)

    def free(self, values: list[Array]) -> list[Array]:
        """The unconstrained variables u of leaves θ."""

        def one(theta, positive, bounded, low, high):
            if bounded:
                return jnp.log(theta - low) - jnp.log(high - theta)
            return jnp.log(theta) if positive else theta

        return self._each(one, values)

    def constrained(self, free: list[Array]) -> list[Array]:
        """The leaves θ of unconstrained variables u."""

        def one(u, positive, bounded, low, high):
            if bounded:
                return low + (high - low) * jax.nn.sigmoid(u)
            return jnp.exp(u) if positive else u

        return self._each(one, free)

    def names(self) -> list[str]:
        """One name for each number that is fitted."""
        leaves = jax.tree_util.tree_flatten_with_path(self.system)[0]
        found = []
        for i, symmetric in zip(self.places, self.symmetric, strict=True):
            path, leaf = leaves[i]
            name = jax.tree_util.keystr(path).lstrip(".")
            entries = [e for e in np.ndindex(np.shape(leaf)) if not symmetric or e[0] <= e[1]]
            found += [name + (str(list(entry)) if entry else "") for entry in entries]
        return found

    def _each(self, one: Callable, values: list[Array]) -> list[Array]:
        rows = zip(values, self.positive, self.bounded, self.lower, self.upper, strict=True)
        return [one(*row) for row in rows]


def select(
    system: Any, where: Callable | None, positive: Any, bounds: Any, symmetric: Any, dtype
) -> Parameters:
    """The leaves that `where` names, of a system whose Python floats take `dtype`."""
    if where is not None and not callable(where):
        raise ValueError(
            f"`where` is {where!r}; give a function of the system, such as lambda s: s.beta."
        )
    leaves, structure = jax.tree.flatten(system)
    floats = [_is_float(leaf) for leaf in leaves]
    numbered = jax.tree.unflatten(structure, list(range(len(leaves))))
    if where is None:
        places = [i for i, is_float in enumerate(floats) if is_float]
    else:
        places = [i for i in _places(where(numbered), "where") if floats[i]]
    if not places:
        raise ValueError(
            f"`where` selects no float of {type(system).__name__}; integers, functions and None "
            "are not fitted. Give floats (write 4.0 for 4), or name other fields."
        )
    signs = _chosen(positive, "positive", numbered, places)
    mirrored = _chosen(symmetric, "symmetric", numbered, places)
    types = [_dtype(leaves[i], dtype) for i in places]
    shapes = [np.shape(leaves[i]) for i in places]
    for shape, mirror in zip(shapes, mirrored, strict=True):
        if mirror and (len(shape) != 2 or shape[0] != shape[1]):
            raise ValueError(f"`symmetric`: a field has shape {shape}; name square matrices.")
    lower, upper = (None, None) if bounds is None else _pair(bounds)
    bounded = [bounds is not None] * len(places)
    low, high = (
        list(map(_triangle, _walls(wall, shapes, types, absent), mirrored))
        for wall, absent in ((lower, -np.inf), (upper, np.inf))
    )
    parameters = Parameters(
        system, tuple(places), tuple(signs), tuple(bounded), tuple(mirrored), low, high
    )
    for theta, sign, inside, below, above in zip(
        parameters.values(), signs, bounded, low, high, strict=True
    ):
        if inside and not np.all((np.asarray(below) < theta) & (theta < np.asarray(above))):
            raise ValueError(
                f"`bounds`: the start {theta} is not strictly between {below} and {above}; move "
                "the start or the bounds."
            )
        if sign and not inside and not np.all(np.asarray(theta) > 0):
            raise ValueError(
                f"`positive`: the start {theta} is not positive; its logarithm is optimised. Start "
                "from a positive value or leave the field out of `positive`."
            )
    return parameters


def scaled(parameters: Parameters, best: list[Array], start: list[Array]):
    """Variables of relative change around `best`: θ e^s for numbers, θ + ‖θ‖ s for arrays.

    ‖θ‖ is the root mean square of a leaf. A leaf that has become far smaller than its start takes
    the start's scale: relative change of nothing says nothing.

    **Returns:** a function s -> u of a flat vector.
    """
    sizes = [theta.size for theta in best]

    def free(s: Float[Array, " p"]) -> list[Array]:
        moved, at = [], 0
        for theta, first, size in zip(best, start, sizes, strict=True):
            part = s[at : at + size].reshape(theta.shape).astype(theta.dtype)
            at += size
            scale, before = (jnp.sqrt(jnp.mean(a**2)) for a in (theta, first))
            scale = jnp.where(scale > 1e-2 * before, scale, before)
            additive = theta + jnp.where(scale > 0, scale, 1) * part
            if theta.ndim == 0:
                moved.append(jnp.where(theta == scale, theta * jnp.exp(part), additive))
            else:
                moved.append(additive)
        return parameters.free(moved)

    return free


def _triangle(matrix: Array, symmetric: bool) -> Array:
    """The entries on and above the diagonal; all, where it is not `symmetric`."""
    return matrix[np.triu_indices(len(matrix))] if symmetric else matrix


def _matrix(entries: Array, shape: tuple[int, int]) -> Array:
    """The symmetric matrix of its upper triangle."""
    upper = jnp.zeros(shape, entries.dtype).at[np.triu_indices(shape[0])].set(entries)
    return upper + jnp.triu(upper, 1).T


def _chosen(fields: Any, name: str, numbered: Any, places: list[int]) -> list[bool]:
    """Which of the fitted leaves `fields` names: all, none, or what a function returns."""
    if not callable(fields):
        return [bool(fields)] * len(places)
    chosen = set(_places(fields(numbered), name))
    return [i in chosen for i in places]


def _is_float(leaf: Any) -> bool:
    floating = eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
    return type(leaf) is float or floating


def _dtype(leaf: Any, dtype):
    return dtype if type(leaf) is float else jnp.result_type(leaf)


def _places(nodes: Any, name: str) -> list[int]:
    places = jax.tree.leaves(nodes)
    if not all(type(i) is int for i in places):
        raise ValueError(
            f"`{name}` must return fields of the system as they are; it returned {places}. "
            "Write for example `lambda s: (s.alpha, s.beta)`."
        )
    return places


def _pair(bounds: Any) -> tuple[Any, Any]:
    if not isinstance(bounds, Sequence) or len(bounds) != 2:
        raise ValueError("`bounds` must be a pair (lower, upper).")
    return bounds[0], bounds[1]


def _walls(wall: Any, shapes: list, types: list, absent: float) -> list[Array]:
    """One wall for each leaf, from one number or a sequence of one entry a leaf."""
    if isinstance(wall, list | tuple):
        if len(wall) != len(shapes):
            raise ValueError(
                f"`bounds` has {len(wall)} entries for {len(shapes)} fitted fields; give one "
                "number, or one entry for each field in the order of `where`."
            )
        walls = list(wall)
    else:
        walls = [absent if wall is None else wall] * len(shapes)
    return [
        jnp.broadcast_to(jnp.asarray(w, dtype), shape)
        for w, shape, dtype in zip(walls, shapes, types, strict=True)
    ]

"""What one token is to another: masks, biases, causal order, rotary positions."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..._custom_types import Point
from ...measures._base import replace
from ._heads import of_head
from ._order import numbered

Pairwise = Array | Callable[[Any, Any], Any]
"""A number for each pair of labels: an array (n, n), or a function of (i, j)."""


def relation(layer, here, mu, labelled):
    """The measure, and what head h adds to ℓ for a pair: −∞ where it may not look."""
    if not layer.related():
        return mu, None
    may = adds = None
    if layer.mask is not None:
        mu, may = between("mask", layer.mask, here[1], mu, labelled, layer.by_rows)
    if layer.bias is not None:
        mu, adds = between("bias", layer.bias, here[1], mu, labelled, layer.by_rows)

    def of(number, a, b):
        allowed = jnp.asarray(True if may is None else of_head("mask", may(a, b), number))
        added = 0.0 if adds is None else of_head("bias", adds(a, b), number)
        if layer.causal:
            allowed &= b[1] <= a[1]
        if layer.exclude_self:
            allowed &= b[1] != a[1]
        return jnp.where(allowed, added, -jnp.inf)

    return mu, of


def between(
    name: str,
    pairwise: Pairwise,
    i: Int[Array, ""],
    mu: Any,
    labelled: bool,
    by_rows: bool = True,
) -> tuple[Any, Callable[[Point, Point], Any]]:
    """The numbers of pairs: the measure that holds them, and how to read that of (x, y).

    A row of an array becomes one more leaf of the points, so that it is sliced with them: taking
    its entries one by one costs twenty times as much. Then pairs have the point i first.

    **Raises:** `ValueError` when an array does not have one number for each pair of tokens.
    """
    if callable(pairwise):
        return mu, lambda x, y: pairwise(x[1], y[1])
    numbered(name, i)
    array = jnp.asarray(pairwise)
    n = mu.size()
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2]:
        raise ValueError(
            f"`{name}` has shape {array.shape}; give one number for each pair, shape (n, n), or "
            "(h, n, n) for h heads."
        )
    if array.shape[-1] != n and not labelled:
        raise ValueError(
            f"`{name}` has shape {array.shape} for {n} tokens; give one number for each pair."
        )
    array = jnp.moveaxis(array, 0, -1) if array.ndim == 3 else array
    if not by_rows:
        return mu, lambda x, y: array[x[1], y[1]]
    row = array[i]
    row = row[mu.x[1]] if labelled else row
    place = len(mu.x)
    return replace(mu, x=(*mu.x, row)), lambda x, y: y[place]


def rotated(x: Float[Array, " k"], place: Int[Array, ""], base: float) -> Float[Array, " k"]:
    """Rotary positions: the pairs (x_2i, x_2i+1) turned by the angle place · base^{−2i/k}.

    Then ⟨rotated(q, i), rotated(k, j)⟩ depends on i − j alone.
    """
    if x.size % 2:
        raise ValueError(
            f"`rotary` turns pairs of coordinates, and queries have {x.size}; give an even number."
        )
    rate = jnp.asarray(base, x.dtype) ** (-jnp.arange(0, x.size, 2).astype(x.dtype) / x.size)
    turn = jnp.asarray(place, x.dtype) * rate
    a, b = x[0::2], x[1::2]
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).ravel()

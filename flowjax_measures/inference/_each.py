"""A function of each snapshot, compiled once for all of equal shapes."""

from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def each(function: Callable[..., Array], *sequences: Iterable[Any]) -> list[Array]:
    """`[function(*items) for items in zip(*sequences)]`."""
    # What NumPy holds is data too, and not the same for all.
    as_array = lambda a: jnp.asarray(a) if isinstance(a, np.ndarray) else a  # noqa: E731
    rows = [jax.tree.map(as_array, row) for row in zip(*sequences, strict=True)]
    kinds: dict[Any, list[int]] = {}
    for i, row in enumerate(rows):
        leaves, structure = jax.tree.flatten(eqx.filter(row, eqx.is_array))
        kinds.setdefault((structure, tuple(a.shape for a in leaves)), []).append(i)
    found: list[Any] = [None] * len(rows)
    for places in kinds.values():
        arrays, rest = zip(*[eqx.partition(rows[i], eqx.is_array) for i in places], strict=True)
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *arrays)
        one = lambda row, rest=rest[0]: function(*eqx.combine(row, rest))  # noqa: E731
        values = jax.lax.map(one, stacked)
        for k, i in enumerate(places):
            found[i] = jax.tree.map(lambda a, k=k: a[k], values)
    return found

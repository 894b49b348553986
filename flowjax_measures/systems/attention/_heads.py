"""Heads: which fields have them, and what is one head's."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


def number_of_heads(**fields: tuple[Array | float | None, int]) -> int | None:
    """How many heads fields have, given as name = (value, axes without heads); None for one.

    **Raises:** `ValueError` naming fields of different numbers of heads or of wrong shapes.
    """
    counts = {}
    for name, (value, axes) in fields.items():
        if value is None or jnp.ndim(value) == axes:
            continue
        if jnp.ndim(value) != axes + 1:
            raise ValueError(
                f"`{name}` has shape {jnp.shape(value)}; give {axes} axes, or {axes + 1} with one "
                "entry for each head first."
            )
        counts[name] = jnp.shape(value)[0]
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"The numbers of heads differ: {counts}. Give every field that has a leading head "
            "axis the same number of heads."
        )
    return next(iter(counts.values()), None)


def of_heads(
    matrices: dict[str, Any], beta: Any, counted: dict[str, tuple[Any, int]]
) -> list[tuple[dict[str, Any], Any]]:
    """The matrices and β of each head, from what has a leading axis of heads and what is shared.

    One by one: on a CPU, gradients of products with a batch axis take up to four times as long.
    """
    count = number_of_heads(**counted)
    pick = lambda v, axes, k: v if v is None or jnp.ndim(v) == axes else v[k]  # noqa: E731
    return [
        ({name: pick(v, 2, k) for name, v in matrices.items()}, pick(beta, 0, k))
        for k in range(1 if count is None else count)
    ]


def of_head(name, value, number):
    """The entry of one head: of one number for all, or of one for each."""
    value = jnp.asarray(value)
    if value.ndim == 0:
        return value
    if value.ndim > 1 or number >= value.shape[0]:
        raise ValueError(
            f"`{name}` of a pair has shape {value.shape}; give one number, or one for each head."
        )
    return value[number]

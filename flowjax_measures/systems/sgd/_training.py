"""Parameters with an optimizer's memory, as a point that flows; and the key of a step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._custom_types import Point, PRNGKey


class Training(NamedTuple):
    """Parameters under training with what the optimizer remembers, its counts as floats.

    !!! example

        `fm.Training(jnp.zeros(2), jnp.zeros(2)).params`
    """

    params: Any
    memory: Any


def remember(memory: PyTree, params: Point) -> PyTree:
    """Counts as floats: what flows in a measure are floats, and integers up to 2²⁴ are exact."""
    dtype = jnp.result_type(*jax.tree.leaves(params))

    def keep(a):
        a = jnp.asarray(a)
        if jnp.issubdtype(a.dtype, jnp.floating):
            return a
        if a.dtype not in (jnp.int32, jnp.bool_):
            raise ValueError(f"`optimizer` remembers {a.dtype}; only floats and counts can flow.")
        return a.astype(dtype)

    return jax.tree.map(keep, memory)


def recall(memory: PyTree, shapes: PyTree) -> PyTree:
    """The optimizer's state from floats, in the dtypes of `shapes`."""

    def cast(a, s):
        return a if a.dtype == s.dtype else jnp.round(a).astype(s.dtype)

    return jax.tree.map(cast, memory, shapes)


def key_of(increment: Float[Array, "2"]) -> PRNGKey:
    """A key from the bits of a Brownian increment."""
    # Of a double the low word, which is all mantissa.
    words = jax.lax.bitcast_convert_type(increment, jnp.uint32).reshape(2, -1)[:, 0]
    return jax.random.wrap_key_data(words, impl="threefry2x32")

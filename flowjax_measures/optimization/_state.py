"""Where a search stands."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree


class SearchState(eqx.Module):
    """Where a search stands; all arrays, so that it can be stored and compiled over."""

    points: Any
    values: Float[Array, "k ..."]
    best_x: PyTree
    best: Float[Array, "..."]
    best_value: Float[Array, "..."]
    consensus: PyTree
    width: Float[Array, ""]
    first: Float[Array, ""]
    stale: Int[Array, ""]
    levels: Float[Array, "2"] | None
    status: Int[Array, ""]
    nit: Int[Array, ""]
    nfev: Int[Array, ""]
    history: PyTree


def with_(state: SearchState, **fields: Any) -> SearchState:
    """The state with some fields replaced."""
    return dataclasses.replace(state, **fields)


def blank(steps: int, like: jax.ShapeDtypeStruct) -> Array:
    """Room for what is observed in so many steps."""
    value = jnp.nan if jnp.issubdtype(like.dtype, jnp.inexact) else 0
    return jnp.full((steps, *like.shape), value, like.dtype)

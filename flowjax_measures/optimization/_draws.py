"""What a search draws beside its noise: batches and jumps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .._custom_types import PRNGKey
from ..noise._noise import standard_normal
from ._points import beside


def batch_of(key: PRNGKey, nit: Int[Array, ""], size: int, batch: int) -> Int[Array, " batch"]:
    """The points of step `nit`: an epoch is a permutation of all, taken in pieces."""
    pieces = size // batch
    shuffle = jax.random.fold_in(jax.random.fold_in(key, nit // pieces), 2)
    order = jax.random.permutation(shuffle, size).astype(jnp.int32)
    return jax.lax.dynamic_slice_in_dim(order, nit % pieces * batch, batch)


def thrown(key: PRNGKey, away: PyTree, mean: Array, strength: Float[Array, ""]) -> PyTree:
    """Jumps γ diag(X − c) N(0, K I), of K ~ Poisson(`mean`) arrivals at each point."""
    when, where = jax.random.split(jax.random.fold_in(key, 3))
    counts = jax.random.poisson(when, mean, (jax.tree.leaves(away)[0].shape[0],))
    widths = strength * jnp.sqrt(counts.astype(strength.dtype))
    draws = standard_normal(where, jax.eval_shape(lambda: away))
    return jax.tree.map(lambda a, z: beside(widths, a) * a * z, away, draws)

"""Groups of neighbours in a row, such as clusters of particles in the order of the line."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num


def groups(begins: Bool[Array, " m"]) -> Int[Array, " n"]:
    """Which group each of n = m + 1 is in, where `begins` says that the next one begins a group."""
    return jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(begins.astype(int))])


def group_sums(values: Num[Array, " n"], labels: Int[Array, " n"]) -> Num[Array, " n"]:
    """The sum over its group, for each of a row."""
    return jax.ops.segment_sum(values, labels, labels.size)[labels]

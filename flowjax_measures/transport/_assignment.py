r"""The assignment problem, compiled: exact transport between n and n atoms of equal mass.

    min_σ (1/n) Σ_i c_{i σ(i)} over permutations σ,   dual: f_i + g_j ≤ c_ij

Rows that share their nearest column are assigned one after the other, along the shortest path of
reduced costs c − f − g through the columns that are taken ([jonker1987]). A column is held by one
row, so that a step of the search is one pass over a row of the costs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._shortest_paths import rough_potentials


class _Assigned(NamedTuple):
    """Potentials, and who holds whom; −1 is nobody."""

    f: Float[Array, " n"]
    g: Float[Array, " n"]
    row_of: Int[Array, " n"]
    column_of: Int[Array, " n"]


class _Search(NamedTuple):
    """Distances of columns from the row that is to be assigned, and the nearest not yet known."""

    distance: Float[Array, " n"]
    known: Bool[Array, " n"]
    from_row: Int[Array, " n"]
    nearest: Int[Array, ""]


@jax.custom_batching.sequential_vmap
def assignment(
    cost: Float[Array, "n n"],
) -> tuple[Float[Array, "n n"], Float[Array, " n"], Float[Array, " n"]]:
    """An optimal plan of masses 1/n and its potentials f, g; NaN where a cost is not finite."""
    n = cost.shape[0]
    valid = jnp.all(jnp.isfinite(cost))
    known = jnp.where(valid, cost, 0)
    equal = jnp.full(n, 1 / n, cost.dtype)
    g = rough_potentials(known, equal, equal)
    f = jnp.min(known - g, axis=1)
    nearest = jnp.argmin(known - g, axis=1).astype(jnp.int32)
    rows = jnp.arange(n, dtype=jnp.int32)
    row_of = jnp.full(n, -1, jnp.int32).at[nearest].set(rows)
    start = _Assigned(f, g, row_of, jnp.where(row_of[nearest] == rows, nearest, -1))

    def unfinished(s: _Assigned):
        return jnp.min(s.column_of) < 0

    done = jax.lax.while_loop(unfinished, lambda s: _assign(known, s), start)
    plan = jnp.zeros_like(cost).at[rows, done.column_of].set(1 / n)
    return tuple(jnp.where(valid, v, jnp.nan) for v in (plan, done.f, done.g))  # pyright: ignore


def _assign(cost, s: _Assigned) -> _Assigned:
    """One row more has a column."""
    n = cost.shape[0]
    source = jnp.argmin(s.column_of).astype(jnp.int32)
    first = cost[source] - s.f[source] - s.g

    def look(found: _Search) -> _Search:
        """The row that holds the nearest column looks at all others."""
        j, i = found.nearest, s.row_of[found.nearest]
        way = found.distance[j] + jnp.maximum(cost[i] - s.f[i] - s.g, 0)
        known = found.known.at[j].set(True)
        nearer = (way < found.distance) & ~known
        distance = jnp.where(nearer, way, found.distance)
        return _Search(
            distance, known, jnp.where(nearer, i, found.from_row), _least(distance, known)
        )

    none = jnp.zeros(n, bool)
    start = _Search(first, none, jnp.full(n, source), _least(first, none))
    found = jax.lax.while_loop(lambda found: s.row_of[found.nearest] >= 0, look, start)
    length = found.distance[found.nearest]
    # Every pair of the tree stays tight.
    drop = jnp.where(found.known, length - found.distance, 0)
    f = s.f.at[jnp.where(found.known, s.row_of, n)].add(drop, mode="drop").at[source].add(length)

    def back(carry):
        j, row_of, column_of, _ = carry
        i = found.from_row[j]
        return column_of[i], row_of.at[j].set(i), column_of.at[i].set(j), i == source

    carry = (found.nearest, s.row_of, s.column_of, jnp.zeros((), bool))
    _, row_of, column_of, _ = jax.lax.while_loop(lambda carry: ~carry[3], back, carry)
    return _Assigned(f, s.g - drop, row_of, column_of)


def _least(distance, known):
    return jnp.argmin(jnp.where(known, jnp.inf, distance)).astype(jnp.int32)

r"""Exact transport by successive shortest paths, compiled: no library is called back.

    min_{π ≥ 0} ⟨c, π⟩   with the marginals a and b,   dual: f_i + g_j ≤ c_ij

Mass goes from a row that has some left, along the shortest path of reduced costs c − f − g in the
graph of rows and columns (backwards where π > 0), to a column that still wants some. Dijkstra's
distances then move f and g, so that every cell that carries mass stays tight: the plan is optimal
for what has been sent at all times, and at the end for all. Equal masses have `_assignment`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Paths for each atom before the search is given up; two or three are usual.
_PATHS = 100
# Annealed steps that begin; their cost is that of a few exponentials of the matrix.
_ROUGH_STEPS = 24


class _Search(NamedTuple):
    """Dijkstra's state: distances from the source, and where they come from."""

    column: Float[Array, " m"]
    row: Float[Array, " n"]
    from_row: Int[Array, " m"]
    from_column: Int[Array, " n"]
    known: Bool[Array, " m"]
    waiting: Bool[Array, " n"]
    last: Int[Array, ""]
    found: Bool[Array, ""]


@jax.custom_batching.sequential_vmap
def shortest_paths(
    cost: Float[Array, "n m"], a: Float[Array, " n"], b: Float[Array, " m"]
) -> tuple[Float[Array, "n m"], Float[Array, " n"], Float[Array, " m"]]:
    """An optimal plan and its potentials f, g, for masses of one sum; NaN where it found none."""
    n, m = cost.shape
    tiny = jnp.finfo(cost.dtype).eps * jnp.sum(a)
    valid = jnp.all(jnp.isfinite(cost)) & jnp.all(jnp.isfinite(a)) & jnp.all(jnp.isfinite(b))
    # Each row has a tight cell, where what is wanted goes first.
    g = rough_potentials(cost, a, b)
    f = jnp.min(cost - g, axis=1)
    nearest = jnp.argmin(cost - g, axis=1).astype(jnp.int32)

    def send(i, carry):
        plan, excess, wanted = carry
        amount = jnp.minimum(excess[i], wanted[nearest[i]])
        plan = plan.at[i, nearest[i]].set(amount)
        return plan, excess.at[i].add(-amount), wanted.at[nearest[i]].add(-amount)

    plan, excess, wanted = jax.lax.fori_loop(0, n, send, (jnp.zeros_like(cost), a, b))

    def unfinished(carry):
        count, _, _, _, excess, wanted = carry
        open_ends = (jnp.max(excess) > tiny) & (jnp.max(wanted) > tiny)
        return valid & open_ends & (count < _PATHS * (n + m))

    def augment(carry):
        count, plan, f, g, excess, wanted = carry
        source = jnp.argmax(excess).astype(jnp.int32)
        found = _dijkstra(cost, f, g, plan, wanted > tiny, source)
        length = found.column[found.last]
        reached = found.row <= length
        f = f + jnp.where(reached, length - jnp.where(reached, found.row, 0), 0)
        g = g - jnp.where(found.known, length - jnp.where(found.known, found.column, 0), 0)
        amount = jnp.minimum(excess[source], wanted[found.last])
        amount = _narrowest(plan, found, source, amount)
        plan = _push(plan, found, source, amount)
        excess = excess.at[source].add(-amount)
        return count + 1, plan, f, g, excess, wanted.at[found.last].add(-amount)

    start = (0, plan, f, g, excess, wanted)
    count, plan, f, g, _, _ = jax.lax.while_loop(unfinished, augment, start)
    solved = valid & (count < _PATHS * (n + m))
    # Atoms of mass zero were never asked: their potentials are the transforms of the others'.
    g = jnp.where(b > 0, g, jnp.min(cost - jnp.where(a > 0, f, -jnp.inf)[:, None], axis=0))
    f = jnp.where(a > 0, f, jnp.min(cost - g, axis=1))
    plan, f, g = (jnp.where(solved, value, jnp.nan) for value in (plan, f, g))
    return plan, f, g


def rough_potentials(cost, a, b):
    """Potentials of the columns near the optimal ones, by annealed Sinkhorn steps."""
    least = jnp.min(cost)
    cost = cost - least
    top = jnp.max(cost)
    top = jnp.where(top > 0, top, 1)
    log_a, log_b = (jnp.log(jnp.maximum(w, jnp.finfo(w.dtype).tiny)) for w in (a, b))

    def soft(level, g):
        f = -level * jax.nn.logsumexp((g / level + log_b)[None] - cost / level, axis=1)
        return -level * jax.nn.logsumexp((f / level + log_a)[:, None] - cost / level, axis=0)

    def anneal(k, g):
        level = top * 0.7 ** jnp.asarray(k, cost.dtype)
        return soft(level, g)

    return jax.lax.fori_loop(1, _ROUGH_STEPS, anneal, jnp.zeros_like(b)) + least


def _dijkstra(cost, f, g, plan, wanting, source) -> _Search:
    n, m = cost.shape
    far = jnp.asarray(jnp.inf, cost.dtype)
    start = _Search(
        jnp.full(m, far),
        jnp.full(n, far).at[source].set(0),
        jnp.zeros(m, jnp.int32),
        jnp.zeros(n, jnp.int32),
        jnp.zeros(m, bool),
        jnp.zeros(n, bool).at[source].set(True),
        jnp.zeros((), jnp.int32),
        jnp.zeros((), bool),
    )

    def settle(s: _Search) -> _Search:
        """The nearest column is known, and with it the rows whose mass it holds."""
        j = jnp.argmin(jnp.where(s.known, far, s.column)).astype(jnp.int32)
        holds = (plan[:, j] > 0) & ~jnp.isfinite(s.row)
        return s._replace(
            known=s.known.at[j].set(True),
            row=jnp.where(holds, s.column[j], s.row),
            from_column=jnp.where(holds, j, s.from_column),
            waiting=holds,
            last=j,
            found=wanting[j],
        )

    def step(s: _Search) -> _Search:
        """One row looks at all columns."""
        i = jnp.argmax(s.waiting).astype(jnp.int32)
        way = s.row[i] + jnp.maximum(cost[i] - f[i] - g, 0)
        nearer = (way < s.column) & ~s.known
        s = s._replace(
            column=jnp.where(nearer, way, s.column),
            from_row=jnp.where(nearer, i, s.from_row),
            waiting=s.waiting.at[i].set(False),
        )
        return jax.lax.cond(jnp.any(s.waiting), lambda s: s, settle, s)

    # A column that holds no mass and wants none is the end of nothing; there are always others.
    def look(s: _Search) -> _Search:
        return jax.lax.cond(jnp.any(s.waiting), step, settle, s)

    return jax.lax.while_loop(lambda s: ~s.found & ~jnp.all(s.known), look, start)


def _narrowest(plan, found: _Search, source, amount):
    """What the path lets through: it takes mass back from the cells that it runs through."""

    def back(carry):
        j, amount = carry
        i = found.from_row[j]
        before = found.from_column[i]
        return before, jnp.minimum(amount, plan[i, before])

    more = lambda carry: found.from_row[carry[0]] != source  # noqa: E731
    return jax.lax.while_loop(more, back, (found.last, amount))[1]


def _push(plan, found: _Search, source, amount):
    def back(carry):
        j, plan = carry
        i = found.from_row[j]
        before = found.from_column[i]
        return before, plan.at[i, j].add(amount).at[i, before].add(-amount)

    more = lambda carry: found.from_row[carry[0]] != source  # noqa: E731
    j, plan = jax.lax.while_loop(more, back, (found.last, plan))
    return plan.at[source, j].add(amount)

"""Plans as pairs of atoms, for solvers on the host that ask for costs by rows and make no table."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Rows = Callable[[Int[np.ndarray, " k"]], Float[np.ndarray, "k m"]]
"""The costs of some atoms to all of the others."""

# Rows at once; tables of costs up to this size are kept rather than made again.
_CHUNK, _KEPT = 256, 2**24


class Sparse(NamedTuple):
    """The pairs (i, j) of the plan with their masses, and the potentials of all atoms."""

    i: Int[np.ndarray, " k"]
    j: Int[np.ndarray, " k"]
    mass: Float[np.ndarray, " k"]
    f: Float[np.ndarray, " n"]
    g: Float[np.ndarray, " m"]


def chunks(n: int) -> Iterator[np.ndarray]:
    """The numbers below n, some at a time."""
    for start in range(0, n, _CHUNK):
        yield np.arange(start, min(start + _CHUNK, n))


def kept(rows: Rows, n: int, m: int) -> Rows:
    """The same rows of costs, kept as a table where it is not large."""
    if n * m > _KEPT:
        return rows
    table = np.concatenate([rows(k) for k in chunks(n)])
    return lambda k: table[k[0] : k[-1] + 1] if k[-1] - k[0] + 1 == len(k) else table[k]


def pair_costs(rows: Rows, i: np.ndarray, j: np.ndarray, n: int) -> np.ndarray:
    """The costs of pairs that are sorted by i."""
    cost = np.empty(len(i))
    for k in chunks(n):
        here = slice(*np.searchsorted(i, [k[0], k[-1] + 1]))
        if here.stop > here.start:
            cost[here] = rows(k)[i[here] - k[0], j[here]]
    return cost


def among_positive(
    rows: Rows,
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " m"],
    solve: Callable[[Rows, Int[np.ndarray, " k"], Int[np.ndarray, " l"]], Sparse],
) -> Sparse:
    """A plan among the atoms that have mass; the others get the potential that these leave.

    `solve(rows, i, j)` is asked for the atoms i and j, whose costs are finite or +inf. What holds
    NaN has no plan and the potential NaN.
    """
    n, m = len(a), len(b)
    i, j = np.nonzero(a)[0], np.nonzero(b)[0]

    def within(k):
        table = np.asarray(rows(i[k]), np.float64)
        table = table if len(j) == m else table[:, j]
        # A sum is finite where all are, and needs no table of answers.
        if not np.isfinite(np.sum(table)) and np.any(np.isnan(table)):
            raise ArithmeticError
        return table

    try:
        if not all(np.all(np.isfinite(w)) for w in (a, b)):
            raise ArithmeticError
        found = solve(within, i, j)
    except ArithmeticError:
        none = np.zeros(0, int)
        return Sparse(none, none, np.zeros(0), np.full(n, np.nan), np.full(m, np.nan))
    f, g = np.full(n, np.inf), np.full(m, np.inf)
    f[i], g[j] = found.f, found.g
    empty = np.nonzero(b == 0)[0]
    for k in chunks(len(i) if len(empty) else 0):
        left = np.asarray(rows(i[k]))[:, empty] - _bound(f[i[k]])[:, None]
        g[empty] = np.minimum(g[empty], np.min(left, axis=0))
    empty = np.nonzero(a == 0)[0]
    for k in chunks(len(empty)):
        f[empty[k]] = np.min(np.asarray(rows(empty[k])) - _bound(g), axis=1)
    return Sparse(i[found.i], j[found.j], found.mass, f, g)


def _bound(potential):
    """Who is out of reach has an infinite potential, and leaves no bound to others."""
    return np.where(np.isposinf(potential), -np.inf, potential)


def nearly_tight(rows: Rows, f, g, near: int) -> Int[np.ndarray, " k"]:
    """The pairs of least c − f − g, some of each atom, as numbers i m + j."""
    n, m = len(f), len(g)
    pairs, least, who = [], np.full((m, near), np.inf), np.zeros((m, near), int)
    for k in chunks(n):
        table = rows(k) - f[k, None]
        table -= g
        best = _smallest(table, near)
        pairs.append((k[:, None] * m + best)[np.isfinite(np.take_along_axis(table, best, 1))])
        columns = np.ascontiguousarray(table.T)
        best = _smallest(columns, near)
        values = np.concatenate([least, np.take_along_axis(columns, best, 1)], axis=1)
        whose = np.concatenate([who, k[best]], axis=1)
        best = _smallest(values, near)
        least, who = np.take_along_axis(values, best, 1), np.take_along_axis(whose, best, 1)
    pairs.append((who * m + np.arange(m)[:, None])[np.isfinite(least)])
    return np.unique(np.concatenate(pairs))


def _smallest(table, near: int):
    near = min(near, table.shape[1])
    return np.argpartition(table, near - 1, axis=1)[:, :near]


def overcharged(
    rows: Rows, f, g, slack: float, more: int
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " n"]]:
    """Pairs with c < f + g, the worst of each atom, and f lowered until there are none."""
    m, pairs, tight = len(g), [], f.copy()
    least, who = np.full(m, -slack), np.full(m, -1)
    for k in chunks(len(f)):
        table = rows(k) - f[k, None]
        table -= g
        lowest = np.min(table, axis=1)
        tight[k] = f[k] + np.where(np.isfinite(lowest), np.minimum(lowest, 0), 0)
        bad = np.nonzero(lowest < -slack)[0]
        if not len(bad):
            continue
        table = table[bad]
        worst = _smallest(table, more)
        pairs.append((k[bad][:, None] * m + worst)[np.take_along_axis(table, worst, 1) < -slack])
        worst = np.argmin(table, axis=0)
        value = table[worst, np.arange(m)]
        who = np.where(value < least, k[bad][worst], who)
        least = np.minimum(value, least)
    found = np.nonzero(who >= 0)[0]
    return np.unique(np.concatenate([*pairs, who[found] * m + found])), tight

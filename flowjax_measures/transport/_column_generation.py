r"""Exact transport of thousands of atoms on the host, on few of the pairs at a time.

    min_{π ≥ 0} ⟨c, π⟩   with the marginals a and b,   dual: f_i + g_j ≤ c_ij

An optimal plan has n + m − 1 pairs. The network simplex solves on some pairs of each atom; those
that its potentials overcharge join, and those that are far from tight leave, until none is
overcharged: the plan is then optimal among all pairs. The pairs that begin are those that the
potentials of a coarser problem make nearly tight ([merigot2011]), where atoms of similar costs are
one. No table of the costs is needed.
"""

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from ._coarse import coarser, extended
from ._host_pairs import (
    Rows,
    Sparse,
    among_positive,
    chunks,
    kept,
    nearly_tight,
    overcharged,
    pair_costs,
)

# Pairs beyond which a coarser problem is solved first.
_DENSE = 300**2
# Pairs of each atom that begin, that join, and that are left at most.
_NEAR, _MORE, _KEPT = 8, 4, 6
# Relative violations that count; a coarse problem is left when few atoms see any.
_FEASIBLE, _FEW = 1e-11, 0.02
_ROUNDS, _PIVOTS = 60, 10**8


def sparse_exact(rows: Rows, a: Float[np.ndarray, " n"], b: Float[np.ndarray, " m"]) -> Sparse:
    """An optimal plan of masses of one sum, and potentials that are feasible for all pairs.

    `rows(k)` are the costs of the atoms k to all of the others, finite ones.

    **Raises:** `RuntimeError` where it was not found.
    """

    def solve(rows: Rows, i, j) -> Sparse:
        return _solved(rows, a[i] / np.sum(a), b[j] / np.sum(b), 0.0)

    found = among_positive(rows, a, b, solve)
    return found._replace(mass=found.mass * np.sum(a))


def _solved(rows: Rows, a, b, unsettled: float) -> Sparse:
    """The plan, up to a share of atoms that may still see a pair that is overcharged."""
    n, m = len(a), len(b)
    if n * m <= _DENSE:
        table = np.concatenate([rows(k) for k in chunks(n)])
        i, j = (index.ravel() for index in np.indices((n, m)))
        mass, f, g = _network_simplex(i, j, table.ravel(), a, b)
        return Sparse(i, j, mass, f, g)
    rows = kept(rows, n, m)
    path = _staircase(a, b)
    key = np.union1d(_beginning(rows, a, b), path)
    cost, best = pair_costs(rows, key // m, key % m, n), np.inf
    for _ in range(_ROUNDS):
        i, j = key // m, key % m
        mass, f, g = _network_simplex(i, j, cost, a, b)
        value = np.dot(cost, mass)
        more, tight = overcharged(rows, f, g, _FEASIBLE * np.max(np.abs(cost)), _MORE)
        more = np.setdiff1d(more, key)
        if len(more) <= unsettled * n:
            carried = mass > 0
            return Sparse(i[carried], j[carried], mass[carried], tight, g)
        if value < best - 1e-9 * abs(value) and len(key) > _KEPT * (n + m):
            # Without progress nothing leaves, or it might come back for ever.
            left = cost - f[i] - g[j]
            near = left <= np.partition(left, _KEPT * (n + m))[_KEPT * (n + m)]
            near |= np.isin(key, path)
            key, cost = key[near], cost[near]
        best = min(best, value)
        new = pair_costs(rows, more // m, more % m, n)
        key, cost = np.concatenate([key, more]), np.concatenate([cost, new])
        order = np.argsort(key)
        key, cost = key[order], cost[order]
    raise RuntimeError(
        f"Exact transport of {n} and {m} atoms was not found in {_ROUNDS} rounds; its costs differ "
        "by too many orders of magnitude, or too many are equal. Take fewer atoms."
    )


def _network_simplex(i, j, cost, a, b):
    """The plan and the potentials on the pairs (i, j)."""
    # POT takes seconds to import.
    from ot.lp import emd

    table = sp.coo_matrix((cost, (i, j)), shape=(len(a), len(b)))
    table = table if len(i) < len(a) * len(b) else table.toarray()
    plan, log = emd(a, b, table, numItermax=_PIVOTS, log=True, center_dual=False)
    if log["warning"] is not None:
        raise RuntimeError(f"The network simplex of transport failed: {log['warning']}")
    mass = plan.ravel() if isinstance(plan, np.ndarray) else _read(plan, i, j)
    return mass, log["u"], log["v"]


def _read(plan, i, j):
    """The entries of a sparse matrix at pairs that are sorted."""
    m = plan.shape[1]
    mass = np.zeros(len(i))
    carried = plan.row.astype(np.int64) * m + plan.col
    mass[np.searchsorted(i * m + j, carried)] = plan.data
    return mass


def _beginning(rows: Rows, a, b):
    """Pairs that the potentials of a coarser problem nearly make tight."""
    p, q, coarse_a, coarse_b = coarser(rows, a, b)
    g = _solved(lambda k: rows(p[k])[:, q], coarse_a, coarse_b, _FEW).g
    return nearly_tight(rows, *extended(rows, q, g, len(a), len(b)), _NEAR)


def _staircase(a, b):
    """Pairs that carry some plan and hold all atoms together."""
    ladders = np.cumsum(a), np.cumsum(b)
    levels = np.unique(np.concatenate(ladders))
    middle = levels - np.diff(levels, prepend=0) / 2
    i, j = (np.minimum(np.searchsorted(ladder, middle), len(ladder) - 1) for ladder in ladders)
    return np.unique(np.concatenate([i * len(b) + j, i[:-1] * len(b) + j[1:]]))

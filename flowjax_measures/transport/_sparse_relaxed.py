r"""Transport between relaxed marginals of thousands of atoms, on the host, by column generation.

    max_{f, g} −ψ₁*(−f) − ψ₂*(−g)   with f_i + g_j ≤ c_ij

An optimal plan has about n + m pairs. The problem is solved on some pairs of each atom by an
interior point method ([mehrotra1992]), whose systems are sparse; pairs that violate
f_i + g_j ≤ c_ij join, until none does. The pairs that begin are those that the potentials of a few
atoms nearly make tight. Costs are asked for by rows, and no table of them is made. At the end
potentials that are feasible for all pairs, and the plan, bound the value from both sides.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from ._host_marginals import Side
from ._host_pairs import Rows, Sparse, chunks, nearly_tight, overcharged, pair_costs

# Atoms that begin; pairs of each atom that begin, join, and are left.
_FEW, _NEAR, _MORE, _KEPT = 256, 12, 4, 4
_ROUNDS, _ROUGH_ROUNDS, _STEPS, _WORSE = 40, 1, 100, 8
# Meetings of pairs, over all that there could be, up to which the systems are solved as sparse.
_SPARSE = 0.2
# Relative violations that count, and the relative distance of the bounds that is a solution.
_FEASIBLE, _GAP = 1e-11, 1e-7
# Relative errors on a choice of pairs, first and at last.
_ROUGH, _FINE = 1e-4, 1e-12


def sparse_relaxed(rows: Rows, one: Side, two: Side) -> Sparse:
    """The optimal plan and potentials of masses > 0, for costs ≥ 0 of which some are infinite.

    `rows(k)` are the costs of the atoms k to all of the others.

    **Raises:** `RuntimeError` where the bounds do not meet.
    """
    n, m = len(one.a), len(two.a)
    i, j = _beginning(rows, one, two)
    tolerance = _ROUGH
    for count in range(_ROUNDS):
        cost = pair_costs(rows, i, j, n)
        f, g, mass = _interior_point(i, j, cost, one, two, tolerance)
        slack = _FEASIBLE * (1 + np.max(cost, initial=0.0))
        more, f = overcharged(rows, f, g, slack, _MORE)
        key = np.unique(np.concatenate([i * m + j, more]))
        if tolerance == _FINE and len(key) == len(i):
            break
        if tolerance > _FINE:
            # Most pairs can leave, but for the first of each atom.
            order = np.argsort(cost - f[i] - g[j])
            first = [order[np.unique(end[order], return_index=True)[1]] for end in (i, j)]
            near = np.concatenate([order[: _KEPT * (n + m)], *first])
            if len(key) < 1.05 * len(i) or count > _ROUGH_ROUNDS:
                tolerance = _FINE
            key = np.union1d((i * m + j)[near], more)
        i, j = key // m, key % m
    # Who has no partner within reach is not moved.
    f[np.bincount(i, minlength=n) == 0] = np.inf
    g[np.bincount(j, minlength=m) == 0] = np.inf
    moved = np.dot(cost, mass)
    low = one.dual(f, one.a) + two.dual(g, two.a)
    ends = np.bincount(i, mass, n), np.bincount(j, mass, m)
    high = moved + one.price(ends[0], one.a) + two.price(ends[1], two.a)
    if not abs(high - low) <= _GAP * (abs(low) + moved):
        raise RuntimeError(
            f"Unbalanced transport is between {low:.10g} and {high:.10g}, and no nearer: its "
            "masses or costs differ by too many orders of magnitude."
        )
    return Sparse(i, j, mass, f, g)


def _beginning(rows: Rows, one: Side, two: Side):
    """Pairs that the potentials of a few atoms make nearly tight."""
    n, m = len(one.a), len(two.a)
    p, q = _few(one.a), _few(two.a)
    small = one._replace(a=_even(one.a, p)), two._replace(a=_even(two.a, q))
    table = rows(p)[:, q]
    i, j = np.nonzero(np.isfinite(table))
    f, g, _ = _interior_point(i, j, table[i, j], *small, _ROUGH)
    lonely = np.bincount(j, minlength=len(q)) == 0
    g = np.where(lonely, -np.inf, g)
    if len(p) < n or len(q) < m:
        f = np.concatenate([_tight(rows(k)[:, q], g) for k in chunks(n)])
        g = np.full(m, np.inf)
        for k in chunks(n):
            g = np.minimum(g, np.min(rows(k) - f[k, None], axis=0))
        g = np.where(np.isfinite(g), g, 0)
    f = np.concatenate([_tight(rows(k), g) for k in chunks(n)])
    key = nearly_tight(rows, f, g, _NEAR)
    return key // m, key % m


def _few(a: np.ndarray) -> np.ndarray:
    """Some of the atoms, drawn evenly in their masses."""
    if len(a) <= _FEW:
        return np.arange(len(a))
    ladder = (np.arange(_FEW) + 0.5) / _FEW * np.sum(a)
    return np.unique(np.minimum(np.searchsorted(np.cumsum(a), ladder), len(a) - 1))


def _even(a: np.ndarray, few: np.ndarray) -> np.ndarray:
    return a if len(few) == len(a) else np.full(len(few), np.sum(a) / len(few))


def _tight(table: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The largest potentials that g leaves, 0 where it leaves any."""
    f = np.min(np.where(np.isinf(g), np.inf, table - np.where(np.isinf(g), 0, g)), axis=1)
    return np.where(np.isfinite(f), f, 0)


def _interior_point(i, j, cost, one: Side, two: Side, tolerance: float):
    """f, g and the plan on the pairs (i, j)."""
    n, m = len(one.a), len(two.a)
    total = min(np.sum(one.a), np.sum(two.a))
    size = min(one.scale, two.scale, 1e-3 + np.mean(cost)) if len(i) else 0.0
    f, g = np.full(n, -0.1 * size), np.full(m, -0.1 * size)
    alone = np.bincount(i, minlength=n) == 0, np.bincount(j, minlength=m) == 0
    # Its own variable: at the end differences of costs and potentials have no digits left.
    s = cost - f[i] - g[j]
    mass = 1 / s
    mass = mass * total / max(np.sum(mass), np.finfo(float).tiny)
    best, old, worse = (f, g, mass), np.inf, 0
    for _ in range(_STEPS if len(i) else 0):
        weight, gap = mass / s, np.dot(mass, s)
        stiff = one.stiffness(f, one.a), two.stiffness(g, two.a)
        try:
            solve = _factored(i, j, weight, stiff, alone)
        except (np.linalg.LinAlgError, RuntimeError):
            # Round-off has made it singular: there are no more digits.
            break
        wanted = one.demand(f, one.a), two.demand(g, two.a)
        move = partial(_moves, i, j, weight, mass, s, wanted, solve)
        # How far the gap can be closed says how much of it to aim at; the product of the moves is
        # what Newton's method leaves out.
        _, _, d_s, d_mass, far_s, far_mass = move(np.zeros_like(mass))
        left = np.dot(mass + far_mass * d_mass, s + far_s * d_s) / gap
        aim = left**3 * gap / len(i) - far_s * far_mass * d_s * d_mass
        d_f, d_g, d_s, d_mass, far_s, far_mass = move(aim / s)
        falls = one.reach / max(-np.min(d_f), 1e-300), two.reach / max(-np.min(d_g), 1e-300)
        step = min(0.99 * far_s, 0.99 * far_mass, *falls)
        f, g, s, mass = f + step * d_f, g + step * d_g, s + step * d_s, mass + step * d_mass
        gaps = one.demand(f, one.a) - np.bincount(i, mass, n)
        others = two.demand(g, two.a) - np.bincount(j, mass, m)
        wrong = np.sum(np.abs(gaps[~alone[0]])) + np.sum(np.abs(others[~alone[1]]))
        error = np.dot(mass, s) + size * wrong
        worse = 0 if error < old else worse + 1
        if error < old:
            best, old = (f, g, mass), error
        # Where demands are exponentials the error may rise on the way.
        if worse > _WORSE or error <= tolerance * total * (1 + np.max(cost)):
            break
    return best


def _moves(i, j, weight, mass, s, wanted, solve, pull):
    """Newton's moves of f, g, s and the plan towards plan · s = pull · s, and their room."""
    n, m = len(wanted[0]), len(wanted[1])
    d_f, d_g = solve(wanted[0] - np.bincount(i, pull, n), wanted[1] - np.bincount(j, pull, m))
    d_s = -d_f[i] - d_g[j]
    d_mass = pull - mass - weight * d_s
    return d_f, d_g, d_s, d_mass, min(1.0, _room(s, d_s)), min(1.0, _room(mass, d_mass))


def _factored(i, j, weight, stiff, alone) -> Callable:
    """What solves Newton's system, sparse where few pairs meet, else by the complement."""
    n, m = len(stiff[0]), len(stiff[1])
    rows = np.where(alone[0], 1, stiff[0] + np.bincount(i, weight, n))
    columns = np.where(alone[1], 1, stiff[1] + np.bincount(j, weight, m))
    between = sp.csr_matrix((weight, (i, j)), shape=(n, m))
    if len(i) ** 2 < _SPARSE * n * m * m:
        whole = sp.bmat([[sp.diags(rows), between], [between.T, sp.diags(columns)]]).tocsc()
        options = dict(permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0)
        factor = splu(whole, options=dict(SymmetricMode=True), **options)

        def inverse(u, v) -> Any:
            return np.split(factor.solve(np.r_[u, v]), [n])
    else:
        scaled = sp.diags(1 / rows) @ between
        inner = scipy.linalg.cho_factor(np.diag(columns) - (between.T @ scaled).toarray())

        def inverse(u, v) -> Any:
            d_g = scipy.linalg.cho_solve(inner, v - scaled.T @ u)
            return (u - between @ d_g) / rows, d_g

    return lambda u, v: inverse(np.where(alone[0], 0, u), np.where(alone[1], 0, v))


def _room(value: np.ndarray, move: np.ndarray) -> float:
    """The step at which the first positive entry would become zero."""
    falls = move < 0
    return float(np.min(value[falls] / -move[falls], initial=np.inf))

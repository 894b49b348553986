r"""Transport between relaxed marginals of thousands of atoms, on the host, by column generation.

    max_{f, g} −ψ₁*(−f) − ψ₂*(−g)   with f_i + g_j ≤ c_ij

An optimal plan has about n + m pairs. The problem is solved on some pairs of each atom by an
interior point method ([mehrotra1992]), whose systems are sparse; pairs that violate
f_i + g_j ≤ c_ij join, until none does. The pairs that begin are those that the potentials of a
coarser problem nearly make tight ([merigot2011]). Costs are asked for by rows, and no table of them
is made. At the end potentials that are feasible for all pairs, and the plan, bound the value from
both sides.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from ._coarse import coarser, extended
from ._host_marginals import Side
from ._host_pairs import Rows, Sparse, chunks, kept, nearly_tight, overcharged, pair_costs

# Pairs beyond which a coarser problem is solved first.
_DENSE = 300**2
# Pairs of each atom that begin, join, and are left.
_NEAR, _MORE, _KEPT = 8, 4, 4
_ROUNDS, _ROUGH_ROUNDS, _STEPS, _WORSE = 40, 3, 100, 8
# Pairs that join, for each atom, so few that the rest can be left to the finer problem.
_SETTLED = 0.05
# Meetings of pairs, over all that there could be, up to which the systems are solved as sparse.
_SPARSE = 0.2
# Relative violations that count, and relative distances of the bounds: of a solution, and so near
# that no more pairs are looked for.
_FEASIBLE, _GAP, _CLOSE = 1e-11, 1e-7, 1e-9
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
        low, high, moved = _bounds(i, j, cost, mass, f, g, one, two)
        gap, scale = abs(high - low), abs(low) + moved
        if tolerance == _FINE and (len(key) == len(i) or gap <= _CLOSE * scale):
            break
        if tolerance > _FINE:
            # Most pairs can leave, but for the first of each atom.
            order = np.argsort(cost - f[i] - g[j])
            first = [order[np.unique(end[order], return_index=True)[1]] for end in (i, j)]
            near = np.concatenate([order[: _KEPT * (n + m)], *first])
            if len(key) < (1 + _SETTLED) * len(i) or count > 1:
                tolerance = _FINE
            key = np.union1d((i * m + j)[near], more)
        i, j = key // m, key % m
    # Who has no partner within reach is not moved.
    f[np.bincount(i, minlength=n) == 0] = np.inf
    g[np.bincount(j, minlength=m) == 0] = np.inf
    if not gap <= _GAP * scale:
        raise RuntimeError(
            f"Unbalanced transport is between {low:.10g} and {high:.10g}, and no nearer: its "
            "masses or costs differ by too many orders of magnitude."
        )
    return Sparse(i, j, mass, f, g)


def _bounds(i, j, cost, mass, f, g, one: Side, two: Side) -> tuple[float, float, float]:
    """Of the value from below and above, and what is paid for moving."""
    ends = np.bincount(i, mass, len(f)), np.bincount(j, mass, len(g))
    alone = np.bincount(i, minlength=len(f)) == 0, np.bincount(j, minlength=len(g)) == 0
    low = one.dual(np.where(alone[0], np.inf, f), one.a)
    low += two.dual(np.where(alone[1], np.inf, g), two.a)
    moved = np.dot(cost, mass)
    return low, moved + one.price(ends[0], one.a) + two.price(ends[1], two.a), moved


def _beginning(rows: Rows, one: Side, two: Side):
    """Pairs that the potentials of a coarser problem nearly make tight."""
    n, m = len(one.a), len(two.a)
    p, q, a, b = coarser(rows, one.a, two.a)
    part = lambda k: rows(p[k])[:, q]  # noqa: E731
    g = _rough(kept(part, len(p), len(q)), one._replace(a=a), two._replace(a=b))
    key = nearly_tight(rows, *extended(rows, q, g, n, m), _NEAR)
    return key // m, key % m


def _rough(rows: Rows, one: Side, two: Side):
    """The potential g, to a few digits; −inf where an atom has no partner."""
    n, m = len(one.a), len(two.a)
    if n * m <= _DENSE:
        table = np.concatenate([rows(k) for k in chunks(n)])
        i, j = np.nonzero(np.isfinite(table))
        g = _interior_point(i, j, table[i, j], one, two, _ROUGH)[1]
    else:
        i, j = _beginning(rows, one, two)
        for _ in range(_ROUGH_ROUNDS):
            cost = pair_costs(rows, i, j, n)
            f, g, _ = _interior_point(i, j, cost, one, two, _ROUGH)
            more = overcharged(rows, f, g, _ROUGH * np.max(cost, initial=0.0), _MORE)[0]
            if len(more) < _SETTLED * n:
                break
            key = np.union1d(i * m + j, more)
            i, j = key // m, key % m
    return np.where(np.bincount(j, minlength=m) == 0, -np.inf, g)


def _interior_point(i, j, cost, one: Side, two: Side, tolerance: float):
    """f, g and the plan on the pairs (i, j)."""
    n, m = len(one.a), len(two.a)
    total = min(np.sum(one.a), np.sum(two.a))
    size = min(one.scale, two.scale, 1e-3 + np.mean(cost)) if len(i) else 0.0
    # What has to be moved is worth what that costs.
    worth = size if max(one.scale, two.scale) < np.inf else 1e-3 + np.mean(cost)
    f, g = np.full(n, -0.1 * size), np.full(m, -0.1 * size)
    alone = np.bincount(i, minlength=n) == 0, np.bincount(j, minlength=m) == 0
    # Its own variable: at the end differences of costs and potentials have no digits left.
    s = cost - f[i] - g[j]
    mass = 1 / s
    mass = mass * total / max(np.sum(mass), np.finfo(float).tiny)
    best, old, less, worse = (f, g, mass), np.inf, np.inf, 0
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
        aim = min(left, 1.0) ** 3 * gap / len(i) - far_s * far_mass * d_s * d_mass
        d_f, d_g, d_s, d_mass, far_s, far_mass = move(aim / s)
        falls = one.reach / max(-np.min(d_f), 1e-300), two.reach / max(-np.min(d_g), 1e-300)
        step = min(0.99 * far_s, 0.99 * far_mass, *falls)
        f, g, s, mass = f + step * d_f, g + step * d_g, s + step * d_s, mass + step * d_mass
        gaps = one.demand(f, one.a) - np.bincount(i, mass, n)
        others = two.demand(g, two.a) - np.bincount(j, mass, m)
        wrong = np.sum(np.abs(gaps[~alone[0]])) + np.sum(np.abs(others[~alone[1]]))
        error = np.dot(mass, s) + worth * wrong
        # While marginals get right the gap may rise, and both where demands are exponentials.
        worse = 0 if error < old or wrong < 0.99 * less else worse + 1
        less = min(wrong, less)
        if error < old:
            best, old = (f, g, mass), error
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

"""Optimal plans and potentials for a matrix of costs, outside of compiled code and inside.

Numbers that can be looked at go to POT's network simplex on the host ([bonneel2011]), many of them
on few of the pairs at a time. Traced ones are solved where they are, by shortest paths:
a compiled program that calls back waits for ever on a machine with one thread.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..measures._base import concrete
from ._assignment import assignment
from ._column_generation import sparse_exact
from ._shortest_paths import shortest_paths

# Pairs beyond which few of them at a time are faster.
_MANY = 2**19
# Pivots before the network simplex is given up; at a thousand atoms it takes some 10⁴.
_PIVOTS = 10**8

Plan = tuple[Float[Array, "n m"], Float[Array, " n"], Float[Array, " m"]]


def optimal_plan(
    cost: Float[Array, "n m"],
    a: Float[Array, " n"],
    b: Float[Array, " m"],
    matched: bool = False,
) -> Plan:
    """A plan π and potentials f, g with f_i + g_j ≤ c_ij; NaN where an argument holds NaN.

    `matched`: whether a and b are known to be equal masses of equal numbers.
    """
    if concrete(cost, a, b):
        return network_simplex(cost, a, b)
    return assignment(cost) if matched else shortest_paths(cost, a, b)


def optimal_value(
    cost: Float[Array, "n m"],
    a: Float[Array, " n"],
    b: Float[Array, " m"],
    matched: bool = False,
) -> Float[Array, ""] | Float[np.ndarray, ""]:
    """The least ⟨c, π⟩; its derivative is that at the optimal plan and potentials.

    Of numbers that can be looked at it is NumPy's, that what comes next need not fetch it.
    """
    if concrete(cost, a, b):
        found = _on_the_host(cost, a, b)
        return np.asarray(np.nan if found is None else found.value, cost.dtype)
    return _traced_value(cost, a, b, matched)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _traced_value(cost, a, b, matched):
    return jnp.vdot(optimal_plan(cost, a, b, matched)[0], cost)


@_traced_value.defjvp
def _traced_value_jvp(matched, primals, tangents):
    plan, f, g = optimal_plan(*primals, matched=matched)
    cost_dot, a_dot, b_dot = tangents
    slope = jnp.vdot(plan, cost_dot) + jnp.vdot(f, a_dot) + jnp.vdot(g, b_dot)
    return jnp.vdot(plan, primals[0]), slope


class _Found(NamedTuple):
    """What the host found, in double precision."""

    value: float
    plan: Float[np.ndarray, "n m"]
    f: Float[np.ndarray, " n"]
    g: Float[np.ndarray, " m"]


def network_simplex(cost: Array, a: Array, b: Array) -> Plan:
    """By POT, of numbers that are not traced."""
    found = _on_the_host(cost, a, b)
    if found is None:
        n, m = (jnp.full(size, jnp.nan, cost.dtype) for size in cost.shape)
        return n[:, None] * m, n, m
    matrix, one, two = (np.asarray(v) for v in (cost, a, b))
    f, g = _complete(matrix, one, two, found.f, found.g)
    return tuple(jnp.asarray(v, cost.dtype) for v in (found.plan, f, g))  # pyright: ignore


def _on_the_host(cost: Array, a: Array, b: Array) -> _Found | None:
    """The plan between the masses a and b; none where an argument is not finite."""
    # POT takes seconds to import.
    from ot.lp import emd

    matrix, one, two = (np.asarray(v, np.float64) for v in (cost, a, b))
    # A sum is finite where all are, and needs no table of answers; an infinite one is looked into.
    if not all(np.isfinite(v.sum()) or np.all(np.isfinite(v)) for v in (matrix, one, two)):
        return None
    if matrix.size >= _MANY:
        try:
            found = sparse_exact(lambda k: matrix[k], one, two)
        except RuntimeError:
            pass
        else:
            plan = np.zeros(matrix.shape)
            plan[found.i, found.j] = found.mass
            value = np.dot(matrix[found.i, found.j], found.mass)
            return _Found(value, plan, found.f, found.g)
    # It wants sums that agree to the last digits.
    mass = one.sum()
    plan, log = emd(
        one / mass, two / two.sum(), np.ascontiguousarray(matrix), numItermax=_PIVOTS, log=True,
        center_dual=False,
    )  # fmt: skip
    if log["warning"] is not None:
        raise RuntimeError(f"The network simplex of transport failed: {log['warning']}")
    plan *= mass
    return _Found(mass * log["cost"], plan, log["u"], log["v"])


def _complete(cost, a, b, f, g):
    """Atoms of mass zero were left out: their potentials are the transforms of the others'."""
    empty = b == 0
    if np.any(empty):
        g = np.where(empty, np.min(cost[a > 0] - f[a > 0, None], axis=0), g)
    if np.any(a == 0):
        f = np.where(a == 0, np.min(cost - g, axis=1), f)
    return f, g

"""Optimal plans and potentials for a matrix of costs, outside of compiled code and inside.

Numbers that can be looked at go to POT's network simplex on the host ([bonneel2011]). Traced ones
are solved where they are, by successive shortest paths: a compiled program that calls back waits
for ever on a machine with one thread.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..measures._base import concrete
from ._shortest_paths import shortest_paths

# Pivots before the network simplex is given up; at a thousand atoms it takes some 10⁴.
_PIVOTS = 10**8

Plan = tuple[Float[Array, "n m"], Float[Array, " n"], Float[Array, " m"]]


def optimal_plan(cost: Float[Array, "n m"], a: Float[Array, " n"], b: Float[Array, " m"]) -> Plan:
    """A plan π and potentials f, g with f_i + g_j ≤ c_ij; NaN where an argument holds NaN."""
    if concrete(cost, a, b):
        return network_simplex(cost, a, b)
    return shortest_paths(cost, a, b)


@jax.custom_jvp
def optimal_value(
    cost: Float[Array, "n m"], a: Float[Array, " n"], b: Float[Array, " m"]
) -> Float[Array, ""]:
    """The least ⟨c, π⟩; its derivative is that at the optimal plan and potentials."""
    return jnp.vdot(optimal_plan(cost, a, b)[0], cost)


@optimal_value.defjvp
def _optimal_value_jvp(primals, tangents):
    plan, f, g = optimal_plan(*primals)
    cost_dot, a_dot, b_dot = tangents
    slope = jnp.vdot(plan, cost_dot) + jnp.vdot(f, a_dot) + jnp.vdot(g, b_dot)
    return jnp.vdot(plan, primals[0]), slope


def network_simplex(cost: Array, a: Array, b: Array) -> Plan:
    """By POT, of numbers that are not traced."""
    # POT takes seconds to import and is needed here only.
    from ot.lp import emd

    dtype, shape = cost.dtype, cost.shape
    matrix, one, two = (np.asarray(v, np.float64) for v in (cost, a, b))
    if not all(np.all(np.isfinite(v)) for v in (matrix, one, two)):
        n, m = (jnp.full(size, jnp.nan, dtype) for size in shape)
        return n[:, None] * m, n, m
    # It wants sums that agree to the last digits.
    mass = one.sum()
    one, two = one / mass, two / two.sum()
    plan, log = emd(
        one, two, np.ascontiguousarray(matrix), numItermax=_PIVOTS, log=True, center_dual=False
    )
    if log["warning"] is not None:
        raise RuntimeError(f"The network simplex of transport failed: {log['warning']}")
    f, g = _complete(matrix, one, two, log["u"], log["v"])
    return jnp.asarray(mass * plan, dtype), jnp.asarray(f, dtype), jnp.asarray(g, dtype)


def _complete(cost, a, b, f, g):
    """Atoms of mass zero were left out: their potentials are the transforms of the others'."""
    empty = b == 0
    if np.any(empty):
        g = np.where(empty, np.min(cost[a > 0] - f[a > 0, None], axis=0), g)
    if np.any(a == 0):
        f = np.where(a == 0, np.min(cost - g, axis=1), f)
    return f, g

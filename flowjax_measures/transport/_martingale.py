r"""Martingale transport: the cheapest plan that is fair ([beiglbock2013], [beiglbock2016]).

    min_{π ≥ 0} ∫ c dπ,   marginals μ and ν,   ∫ (y − x) π(dy | x) = 0 for each x

It needs μ ≤ ν in convex order. Its dual is

    max ∫ f dμ + ∫ g dν,   f(x) + g(y) + ⟨h(x), y − x⟩ ≤ c(x, y):

in finance the hedge of a claim c by options f and g and by trading h, and the value its price.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import checked
from ..energies._ground import check_flat
from ..measures import AbstractMeasure, Gaussian
from ..measures._base import concrete
from ._exact import Cost, cost_matrix
from ._masses import comparable


class MartingaleTransport(NamedTuple):
    """The optimal value, the plan (n, m), potentials f and g, and the hedge h.

    !!! example

        `fm.martingale_transport(grid, grid, lambda x, y: jnp.abs(x - y)[0])`
    """

    value: FloatScalar
    plan: Float[Array, "n m"]
    f: Float[Array, " n"]
    g: Float[Array, " m"]
    h: Float[Array, "n d"]


@checked
def martingale_transport(
    mu: AbstractMeasure, nu: AbstractMeasure, cost: Cost, *, maximize: bool = False
) -> MartingaleTransport:
    r"""The least (or greatest) ∫ c dπ over the martingale plans between the atoms of two measures.

    A linear program, solved on the host: some hundred atoms. Its value is differentiable once in
    points, weights and what `cost` holds.

    **Arguments:** `mu`, `nu`: measures in flat space of equal mass, divided by it; μ ≤ ν in convex
    order. `cost`: c(x, y), a function of two points or a matrix, shape (n, m). `maximize`: whether
    the greatest value is sought.

    **Raises:** `ValueError` where there is no martingale, and inside of compiled code.

    !!! example

        `fm.martingale_transport(mu, mu, lambda x, y: jnp.abs(y - x).sum())` bounds the price of a
        forward-start straddle from below, and with `maximize=True` from above.
    """
    comparable(mu, nu)
    check_flat("martingale_transport", mu, nu)
    for m in (mu, nu):
        if isinstance(m, Gaussian):
            raise ValueError("A Gaussian has no atoms; give Particles(mu.sample(key, n)).")
    (x, log_a), (y, log_b) = mu.atoms(), nu.atoms()
    a, b = jax.nn.softmax(log_a), jax.nn.softmax(log_b)
    sign = -1.0 if maximize else 1.0
    matrix = sign * cost_matrix(cost, x, y, (a.size, b.size))
    # Atoms of mass zero may hold anything.
    x, y = (jnp.where((w > 0)[:, None], z.reshape(w.size, -1), 0) for z, w in ((x, a), (y, b)))
    matrix = jnp.where((a > 0)[:, None] & (b > 0), matrix, 0)
    value = _value(matrix, a, b, x, y)
    plan, f, g, h = _program(*jax.lax.stop_gradient((matrix, a, b, x, y)))
    return MartingaleTransport(sign * value, plan, sign * f, sign * g, sign * h)


@jax.custom_jvp
def _value(matrix, a, b, x, y):
    return jnp.vdot(_program(matrix, a, b, x, y)[0], matrix)


@_value.defjvp
def _value_jvp(primals, tangents):
    plan, f, g, h = _program(*primals)
    matrix_dot, a_dot, b_dot, x_dot, y_dot = tangents
    slope = jnp.vdot(plan, matrix_dot) + jnp.vdot(f, a_dot) + jnp.vdot(g, b_dot)
    gain = jnp.einsum("ij,ik,jk->", plan, h, y_dot) - jnp.einsum("ij,ik,ik->", plan, h, x_dot)
    return jnp.vdot(plan, primals[0]), slope - gain


def _program(matrix, a, b, x, y):
    """The plan and the dual's f, g, h of numbers that are not traced."""
    if not concrete(matrix, a, b, x, y):
        raise ValueError("`martingale_transport` is solved on the host; call it outside of `jit`.")
    # Imported where they are needed: scipy takes its time.
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, eye, kron, vstack

    dtype = matrix.dtype
    cost, one, two, p, q = (np.asarray(v, np.float64) for v in (matrix, a, b, x, y))
    n, m = cost.shape
    if not all(np.all(np.isfinite(v)) for v in (cost, one, two, p, q)):
        shapes = (n, m), (n,), (m,), p.shape
        return tuple(jnp.full(shape, jnp.nan, dtype) for shape in shapes)
    rows = kron(eye(n), np.ones((1, m)))
    columns = kron(np.ones((1, n)), eye(m))
    fair = [
        csr_matrix((((q[None, :, k] - p[:, None, k]).ravel()),
                    (np.repeat(np.arange(n), m), np.arange(n * m))), (n, n * m))
        for k in range(p.shape[1])
    ]  # fmt: skip
    sides = np.concatenate([one, two, np.zeros(n * p.shape[1])])
    found = linprog(cost.ravel(), A_eq=vstack([rows, columns, *fair]), b_eq=sides, method="highs")
    if found.status == 2:
        raise ValueError(
            "`mu` is not below `nu` in convex order: no martingale leads from one to the other. "
            "Give equal means, and a `nu` that is more spread out."
        )
    if found.status:
        raise RuntimeError(f"The program of martingale transport failed: {found.message}")
    price = found.eqlin.marginals
    plan = found.x.reshape(n, m)
    h = price[n + m :].reshape(-1, n).T
    parts = plan, price[:n], price[n : n + m], h
    return tuple(jnp.asarray(part, dtype) for part in parts)

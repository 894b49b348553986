r"""Exact transport: W_p on the line, of Gaussians, and of few atoms.

W_p(μ, ν) = ( min_π ∫ ‖x − y‖^p dπ )^{1/p}
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import safe_power, safe_sqrt
from ..energies._bures import bures, bures_map
from ..energies._sinkhorn import _normalised
from ..energies._sliced import _line, _quantile
from ..measures import AbstractMeasure, Gaussian, Particles
from ._masses import check_masses


def wasserstein(mu: AbstractMeasure, nu: AbstractMeasure, p: float | int = 2) -> FloatScalar:
    r"""The Wasserstein distance W_p itself, not its power, exactly.

    Gaussians with p = 2: closed form. On the line: quantile functions. Else a linear program over
    the atoms, solved outside of JAX: for some hundreds of atoms. Differentiable in points and
    weights, to first order.

    **Arguments:** `mu`, `nu`: measures of equal mass, divided by it; `p` ≥ 1.

    **Raises:** `ValueError` where the masses differ by more than 1%.
    """
    check_masses(mu, nu)
    if p < 1:
        raise ValueError(f"`p` is {p}; W_p is a distance for p ≥ 1.")
    if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
        if p != 2:
            raise ValueError(
                f"`p` is {p}; between Gaussians only p = 2 has a closed form. Give samples, "
                "Particles(mu.sample(key, n))."
            )
        return safe_sqrt(bures(mu, nu))
    (x, log_a), (y, log_b) = _normalised(mu), _normalised(nu)
    if x.shape[1] == 1:
        power = _line_power(x[:, 0], jnp.exp(log_a), y[:, 0], jnp.exp(log_b), p)
    else:
        power = _discrete(_cost(x, y, p), jnp.exp(log_a), jnp.exp(log_b))
    return safe_power(power, 1 / p)


def coupling(mu: AbstractMeasure, nu: AbstractMeasure, p: float | int = 2) -> Float[Array, "n m"]:
    """An optimal plan of W_p between the atoms of two measures; not differentiable."""
    check_masses(mu, nu)
    (x, log_a), (y, log_b) = _normalised(mu), _normalised(nu)
    return _plan(_cost(x, y, p), jnp.exp(log_a), jnp.exp(log_b))[0]


def mccann(mu: AbstractMeasure, nu: AbstractMeasure, t: FloatScalar) -> AbstractMeasure:
    """The W₂ geodesic from `mu` at t = 0 to `nu` at t = 1.

    Between Gaussians a Gaussian. Between particles the particles of the optimal plan: n of them
    for n and n of equal weight, n·m of which many have mass 0 otherwise.
    """
    if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
        step = (1 - t) * jnp.eye(mu.m.size, dtype=mu.m.dtype) + t * bures_map(mu, nu)
        cov = step @ mu.cov @ step.T
        return Gaussian((1 - t) * mu.m + t * nu.m, (cov + cov.T) / 2)
    (x, _), (y, _) = _normalised(mu), _normalised(nu)
    plan = coupling(mu, nu)
    equal = all(isinstance(m, Particles) and m.log_w is None for m in (mu, nu))
    if equal and len(x) == len(y):
        return Particles((1 - t) * x + t * y[jnp.argmax(plan, axis=1)])
    moved = (1 - t) * x[:, None] + t * y[None]
    return Particles(moved.reshape(-1, x.shape[1]), jnp.log(plan.ravel()))


def _cost(x, y, p):
    square = jnp.sum((x[:, None] - y[None]) ** 2, axis=-1)
    if p == 2:
        return square
    return safe_power(square, p / 2)


def _line_power(s, a, r, b, p):
    mu, nu = _line(s, a), _line(r, b)
    levels = jnp.sort(jnp.concatenate([mu.mass[1:], nu.mass[1:]]))
    steps = jnp.diff(levels, prepend=0)
    middle = levels - steps / 2
    gap = jnp.abs(_quantile(middle, mu) - _quantile(middle, nu))
    return jnp.sum(steps * (gap if p == 1 else gap**p))


@jax.custom_jvp
def _discrete(cost: Float[Array, "n m"], a: Float[Array, " n"], b: Float[Array, " m"]):
    """The optimal value; its derivative is that at the optimal plan and potentials."""
    return jnp.vdot(_plan(cost, a, b)[0], cost)


@_discrete.defjvp
def _discrete_jvp(primals, tangents):
    plan, f, g = _plan(*primals)
    cost_dot, a_dot, b_dot = tangents
    slope = jnp.vdot(plan, cost_dot) + jnp.vdot(f, a_dot) + jnp.vdot(g, b_dot)
    return jnp.vdot(plan, primals[0]), slope


def _plan(cost, a, b):
    shapes = [jax.ShapeDtypeStruct(s, cost.dtype) for s in (cost.shape, a.shape, b.shape)]
    solve = partial(_solve, dtype=cost.dtype)
    return jax.pure_callback(solve, tuple(shapes), cost, a, b, vmap_method="sequential")


def _solve(cost, a, b, dtype):
    """An optimal plan and its dual potentials, by the simplex method."""
    from scipy.optimize import linear_sum_assignment, linprog
    from scipy.sparse import eye_array, kron, vstack

    cost, a, b = (np.asarray(v, np.float64) for v in (cost, a, b))
    n, m = cost.shape
    if not np.all(np.isfinite(cost)):
        return tuple(np.full(s, np.nan, dtype) for s in ((n, m), n, m))
    if n == m and np.ptp(a) + np.ptp(b) < 1e-12:
        # The assignment's own algorithm is much faster than the program's.
        i, j = linear_sum_assignment(cost)
        plan = np.zeros((n, m))
        plan[i, j] = 1 / n
        return plan.astype(dtype), *_assignment_potentials(cost, j, dtype)
    rows = kron(eye_array(n), np.ones((1, m)), format="csr")
    columns = kron(np.ones((1, n)), eye_array(m), format="csr")
    # HiGHS takes what is below 1e-7 for zero, so masses count in millionths; and of equations that
    # follow from the others, as the last one does, it says that they can't hold.
    masses = np.concatenate([a / a.sum(), b / b.sum()])
    program = linprog(
        cost.ravel(),
        A_eq=vstack([rows, columns], format="csr")[:-1],  # pyright: ignore
        b_eq=1e6 * masses[:-1],
        method="highs",
    )
    if program.x is None:
        raise RuntimeError(f"The linear program of transport failed: {program.message}")
    plan, duals = program.x.reshape(n, m) / 1e6, np.append(program.eqlin.marginals, 0)
    return plan.astype(dtype), duals[:n].astype(dtype), duals[n:].astype(dtype)


def _assignment_potentials(cost, assigned, dtype):
    """g by shortest paths (Bellman–Ford) from the optimal assignment, f by complementarity."""
    n = len(cost)
    matched = cost[np.arange(n), assigned]
    g = np.zeros(n)
    for _ in range(n):
        # f_i = c_{iσ(i)} − g_{σ(i)} and f_i + g_j ≤ c_ij.
        relaxed = np.minimum(g, np.min(cost - (matched - g[assigned])[:, None], axis=0))
        if np.allclose(relaxed, g, rtol=0, atol=1e-13 * (1 + np.abs(cost).max())):
            break
        g = relaxed
    return (matched - g[assigned]).astype(dtype), g.astype(dtype)

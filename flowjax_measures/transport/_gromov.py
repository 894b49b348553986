r"""Gromov–Wasserstein: how far two measures are up to isometries of their spaces ([memoli2011]).

    GW₂² = min_π ∬ |d(x, x′)^p − d(y, y′)^p|² π(dx, dy) π(dx′, dy′)

The problem is not convex: conditional gradients from several plans, and the best of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar
from .._numerics import checked, safe_sqrt
from .._numerics._checks import check_positive
from ..energies._ground import located, powers, space_of
from ..measures import AbstractMeasure, Gaussian
from ..measures._base import concrete


class GromovWasserstein(NamedTuple):
    """The distance, a root, and the plan (n, m) at which it was found.

    !!! example

        `fm.gromov_wasserstein(mu, nu).value`
    """

    value: FloatScalar
    plan: Float[Array, "n m"]


@checked
def gromov_wasserstein(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    p: float | int = 2,
    *,
    starts: Count = 8,
    epsilon: FloatScalar | None = None,
) -> GromovWasserstein:
    r"""The Gromov–Wasserstein distance, the root of the best value found: an upper bound.

    The measures may live on different spaces, of different dimensions: only distances within each
    count. By POT, on the host, not for compiled code; with `epsilon` by ott, for compiled code.

    **Arguments:** `mu`, `nu`: measures with atoms, divided by their masses. `p`: the power of the
    distances that are compared; 1 for the metric spaces themselves. `starts`: how many plans to
    begin with, the independent one and random ones of a fixed seed; more lower the bound.

    `epsilon`: the entropy of the plan, in units of the squared differences of powers; the value is
    then that of a spread plan, larger by O(ε log 1/ε), from the independent plan, and NaN where its
    marginals are off by more than 1%.

    **Raises:** `ValueError` for Gaussians and, without `epsilon`, for traced measures.

    !!! example

        `fm.gromov_wasserstein(fm.Particles(x), fm.Particles(x @ rotation), 1).value` is 0.
    """
    check_positive("p", p)
    for m in (mu, nu):
        if isinstance(m, Gaussian):
            raise ValueError("A Gaussian has no atoms; give samples, Particles(mu.sample(key, n)).")
    (x, log_a), (y, log_b) = located(mu, space_of(mu)), located(nu, space_of(nu))
    one, two = (powers(space_of(m), z, z, p) for m, z in ((mu, x), (nu, y)))
    if epsilon is not None:
        check_positive("epsilon", epsilon)
        return _entropic(one, two, jnp.exp(log_a), jnp.exp(log_b), epsilon)
    if not concrete(one, two, log_a, log_b):
        raise ValueError(
            "`mu` or `nu` is traced; give `epsilon`, or call `gromov_wasserstein` outside of jit."
        )
    dtype = one.dtype
    arrays = [np.asarray(v, np.float64) for v in (one, two, jnp.exp(log_a), jnp.exp(log_b))]
    if not all(np.all(np.isfinite(v)) for v in arrays):
        plan = jnp.full((log_a.size, log_b.size), jnp.nan, dtype)
        return GromovWasserstein(jnp.full((), jnp.nan, dtype), plan)
    one, two, a, b = arrays
    value, plan = _best(one, two, a, b, starts)
    return GromovWasserstein(
        jnp.sqrt(jnp.asarray(max(value, 0.0), dtype)), jnp.asarray(plan, dtype)
    )


def _entropic(one, two, a, b, epsilon) -> GromovWasserstein:
    from ott.geometry.geometry import Geometry
    from ott.problems.quadratic.quadratic_problem import QuadraticProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn
    from ott.solvers.quadratic.gromov_wasserstein import GromovWasserstein as Solver

    problem = QuadraticProblem(Geometry(cost_matrix=one), Geometry(cost_matrix=two), a=a, b=b)
    inner = Sinkhorn(threshold=1e-6, max_iterations=5000)
    solver = Solver(inner, epsilon=epsilon, relative_epsilon=None, threshold=1e-8)
    with jax.numpy_dtype_promotion("standard"):  # ott promotes.
        plan = solver(problem).matrix
    square = (one**2 @ a) @ a + (two**2 @ b) @ b - 2 * jnp.vdot(one @ plan @ two.T, plan)
    held = jnp.all(jnp.abs(jnp.sum(plan, axis=1) - a) <= 0.01 * jnp.max(a))
    value = jnp.where(held, safe_sqrt(square), jnp.nan)
    return GromovWasserstein(value, jnp.where(held, plan, jnp.nan))


def _best(one, two, a, b, starts: int):
    from ot.gromov import gromov_wasserstein as solve
    from ot.lp import emd

    a, b = a / a.sum(), b / b.sum()
    generator, found = np.random.default_rng(0), []
    for start in range(max(starts, 1)):
        begin = np.outer(a, b)
        if start == 1:
            # Points whose mean distances to the others agree.
            cost = ((one @ a)[:, None] - two @ b) ** 2
            begin = emd(a, b, cost)
        elif start > 1:
            begin = emd(a, b, generator.random((a.size, b.size)))
        plan = solve(
            one, two, a, b, "square_loss", G0=begin, max_iter=10_000, tol_rel=1e-12, tol_abs=1e-12
        )
        square = a @ one**2 @ a + b @ two**2 @ b - 2 * np.vdot(one @ plan @ two.T, plan)
        found.append((float(square), plan))
    return min(found, key=lambda pair: pair[0])

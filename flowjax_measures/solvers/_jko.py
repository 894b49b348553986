r"""Minimising movements as a solver ([jko1998]).

    μ_{k+1} = argmin_μ  W₂²(μ, μ_k)/(2τ) + F(μ)

Its optimality condition is that μ_k is the image of μ_{k+1} under x ↦ x − τ v(x), v the velocity
of the Wasserstein flow at μ_{k+1} itself. That is what is solved, by Newton's method:

- `Particles`: x_k = x − τ v(x), the proximal step among measures of n atoms; for the energy
  distance to atoms on the line by sorting.
- `Gaussian`: m_k = m − τ ṁ and Σ_k = (I − τA) Σ (I − τA), A symmetric with AΣ + ΣA = Σ̇.
- `GridDensity`: ρ_k = ρ − τ ρ̇, the same to first order in the displacement: the step of the
  metric of W₂ at ρ, which is convex where F is. Or by entropic transport, `EntropicScaling`.

Order 1, and F never increases: F(μ_{k+1}) + W₂²(μ_{k+1}, μ_k)/(2τ) ≤ F(μ_k), for any τ where F is
convex along geodesics. Each step proves it.
"""

import functools
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jax.flatten_util import ravel_pytree

from .._custom_types import Positive
from .._numerics._matrix import lyapunov
from .._system import Averaged
from ..measures import Gaussian, GridDensity, Particles
from ..measures._base import is_measure, replace
from ..metrics import Wasserstein
from ..systems.flows import GradientFlow
from ..transport import bures
from ._base import AbstractScheme, unwrapped
from ._entropic_scaling import EntropicScaling
from ._sorted_movement import is_sorted_movement, sorted_movement

# What a step may add to F: round-off, and on a grid what its cells leave of F's own minimum.
_ROUND_OFF = 1e3
# Unknowns up to which Newton's equation is solved by a matrix, and products between restarts.
_DENSE, _RESTART = 500, 60
_CELLS = 1e-6


class JKO(AbstractScheme):
    """The JKO scheme for Wasserstein gradient flows without noise.

    Beyond some hundreds of unknowns (thousands of particles, grids of 128 × 128 cells) Newton's
    equation is solved by products with its derivative, and no matrix of it is formed.

    A step that does not solve its equation, or that doesn't descend as it must, is NaN: such a run
    fails. The descent is that of the energy of a `GradientFlow` in the metric `Wasserstein()`.

    **Arguments:** `tau`: the step τ, the `dt` of the run. `inner`: how a step on a grid is found,
    `None` by Newton's method or `EntropicScaling(epsilon)`. `max_steps`: bound on Newton's steps.

    !!! example

        `simulate(GradientFlow(energy), mu, ts, dt=tau, solver=JKO(tau))`
    """

    tau: Positive
    inner: EntropicScaling | None = None
    max_steps: int = 50

    orders: ClassVar = (1, None)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        if not isinstance(y0, Particles | Gaussian | GridDensity):
            raise ValueError(
                f"JKO was given {type(y0).__name__}; it steps Particles, Gaussian and GridDensity."
            )
        if not isinstance(unwrapped(terms), diffrax.ODETerm):
            raise ValueError(
                "JKO was given noise: atoms have no entropy to minimise. Start from a Gaussian or "
                "a grid, or use KernelEntropy in place of the energy that diffuses."
            )
        h, problem = t1 - t0, unwrapped(terms).vector_field.problem
        system = problem.system
        if self.inner is None and _is_sorted(system, problem.merge(y0)):
            y1 = replace(y0, x=sorted_movement(system.energy.target, problem.merge(y0), h))
        elif self.inner is None:
            y1 = proximal(y0, lambda y: terms.vf(t1, y, args), h, self.max_steps)
        else:
            mu = problem.merge(y0)
            if not (isinstance(mu, GridDensity) and isinstance(problem.system, GradientFlow)):
                raise ValueError(
                    "`inner` is for steps of a GradientFlow on a GridDensity; leave it out for "
                    f"{type(problem.system).__name__} from {type(mu).__name__}."
                )
            y1 = replace(y0, rho=self.inner.step(problem.system.energy, mu, h))
        proved = _descends(problem, y0, y1, h)
        y1 = jax.tree.map(lambda a: jnp.where(proved, a, jnp.nan), y1)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


def proximal(y0, velocity, h, max_steps):
    """The end y of an implicit step y0 → y of the Wasserstein geometry, NaN where none is found.

    `y0` is what moves of a measure or of a dict of measures, `velocity(y)` its time derivative.
    """
    each = functools.partial(jax.tree.map, is_leaf=is_measure)
    flat, unravel = ravel_pytree(each(_unknown, y0))

    def residual(z, _):
        z = unravel(z)
        y = each(_reached, y0, z)
        errors = each(functools.partial(_error, h), y0, z, y, velocity(y))
        return ravel_pytree(errors)[0]

    # Newton squares its error: beyond this tolerance a step is exact.
    tolerance = float(jnp.finfo(flat.dtype).eps) ** 0.75
    if flat.size > _DENSE:
        # No matrix of so many unknowns; Newton's method forgives what is left of its equation.
        enough = float(jnp.finfo(flat.dtype).eps) ** 0.5
        solver = lx.GMRES(enough, enough, restart=_RESTART, stagnation_iters=_RESTART)
    else:
        solver = lx.AutoLinearSolver(well_posed=None)
    newton = optx.Newton(tolerance, tolerance, linear_solver=solver)
    root = optx.root_find(residual, newton, flat, max_steps=max_steps, throw=False)
    solved = root.result == optx.RESULTS.successful
    return each(_reached, y0, unravel(jnp.where(solved, root.value, jnp.nan)))


def _descends(problem, y0, y1, h) -> Any:
    """Whether F(μ_{k+1}) + W²/(2τ) ≤ F(μ_k), W a bound of W₂; true where there is no F."""
    flow, mu, nu = problem.system, problem.merge(y0), problem.merge(y1)
    flow = flow.system if isinstance(flow, Averaged) else flow
    if not (isinstance(flow, GradientFlow) and isinstance(flow.metric, Wasserstein)):
        return True
    before, after = flow.energy(mu), flow.energy(nu)
    slack = _ROUND_OFF * jnp.finfo(jnp.result_type(before)).eps * (1 + jnp.abs(before))
    if isinstance(mu, GridDensity):
        return after <= before + jnp.maximum(slack, _CELLS * (1 + jnp.abs(before)))
    if isinstance(mu, Gaussian):
        square = bures(mu, nu)
        # Matrix roots know their square to round-off of the size of the measure.
        slack = slack * (1 + (jnp.vdot(mu.m, mu.m) + jnp.trace(mu.cov)) / (2 * h))
    else:
        moved = jax.tree.map(lambda a, b: (a - b) ** 2, y1.x, y0.x)
        square = replace(mu, x=moved).mean(lambda x: sum(map(jnp.sum, jax.tree.leaves(x))))
    # From an infinite F every step to a finite one descends; maps leave a singular Gaussian
    # singular, of infinite entropy: that is no step.
    descends = after + square / (2 * h) <= before + slack
    return descends | (~jnp.isfinite(before) & jnp.isfinite(after))


def _unknown(y0):
    """What is solved for: the points, the density, or a Gaussian's mean and, in the place of Σ, the
    optimal map T with Σ = T Σ_k T and T⁻¹ = I − τA. In Σ itself Newton's method leaves the cone; in
    T the equation is nearly linear.
    """
    return replace(y0, cov=jnp.eye(y0.m.size, dtype=y0.m.dtype)) if _is_gaussian(y0) else y0


def _reached(y0, z):
    """The end of the step, by the unknown."""
    if not _is_gaussian(y0):
        return z
    step = (z.cov + z.cov.T) / 2
    return replace(y0, m=z.m, cov=step @ y0.cov @ step)


def _error(h, y0, z, y, drift):
    """What vanishes where the step y0 → y has the velocity of its end."""
    if not _is_gaussian(y0):
        return jax.tree.map(lambda a, b, c: a - jnp.asarray(h, a.dtype) * b - c, y, drift, y0)
    identity = jnp.eye(y0.m.size, dtype=y0.m.dtype)
    h, step = jnp.asarray(h, y0.m.dtype), (z.cov + z.cov.T) / 2
    # AΣ + ΣA = Σ̇ is the equation of a square root's derivative, with Σ for the root.
    product = (identity - h * lyapunov(y.cov, drift.cov)) @ step
    # The symmetric part of T is asked to solve, the skew part to vanish.
    error = (product + product.T) / 2 - identity + (z.cov - z.cov.T) / 2
    return replace(y0, m=z.m - h * drift.m - y0.m, cov=error)


def _is_sorted(system, mu) -> bool:
    plain = isinstance(system, GradientFlow) and isinstance(system.metric, Wasserstein)
    return plain and is_sorted_movement(system.energy, mu)


def _is_gaussian(y):
    return isinstance(y, Gaussian)

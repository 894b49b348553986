r"""Minimising movements as a solver ([jko1998]).

    μ_{k+1} = argmin_μ  W₂²(μ, μ_k)/(2τ) + F(μ)

Its optimality condition is that μ_k is the image of μ_{k+1} under x ↦ x − τ v(x), v the velocity
of the Wasserstein flow at μ_{k+1} itself. That is what is solved, by Newton's method:

- `Particles`: x_k = exp_x(−τ v(x)), which is x − τ v(x) in flat space: the proximal step among
  measures of n atoms of their space; for the energy distance to atoms on the line by sorting.
- `Gaussian`: m_k = m − τ ṁ and Σ_k = (I − τA) Σ (I − τA), A symmetric with AΣ + ΣA = Σ̇.
- `GridDensity`: ρ_k = ρ − τ ρ̇, the same to first order in the displacement: the step of the
  metric of W₂ at ρ, which is convex where F is. Or by entropic transport, `EntropicScaling`.

Order 1, and F never increases: F(μ_{k+1}) + W₂²(μ_{k+1}, μ_k)/(2τ) ≤ F(μ_k), for any τ where F is
convex along geodesics. Each step proves it.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import Positive
from .._system import Averaged
from ..energies._ground import located, space_of, square as ground_square
from ..measures import Gaussian, GridDensity, Particles
from ..measures._base import replace
from ..metrics import Wasserstein
from ..spaces import Euclidean
from ..systems.flows import GradientFlow
from ..transport import bures
from ._base import AbstractScheme, unwrapped
from ._entropic_scaling import EntropicScaling
from ._proximal import proximal
from ._sorted_movement import is_sorted_movement, sorted_movement

# What a step may add to F: round-off, and on a grid what its cells leave of F's own minimum.
_ROUND_OFF = 1e3
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
            mu = problem.merge(y0)
            y1 = proximal(y0, mu, lambda y: terms.vf(t1, y, args), h, self.max_steps)
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
        space = space_of(mu)
        here, there = located(mu, space)[0], located(nu, space)[0]
        square = replace(
            mu, x=jax.vmap(ground_square(space))(here, there), space=Euclidean()
        ).mean()
    # From an infinite F every step to a finite one descends; maps leave a singular Gaussian
    # singular, of infinite entropy: that is no step.
    descends = after + square / (2 * h) <= before + slack
    return descends | (~jnp.isfinite(before) & jnp.isfinite(after))


def _is_sorted(system, mu) -> bool:
    plain = isinstance(system, GradientFlow) and isinstance(system.metric, Wasserstein)
    return plain and is_sorted_movement(system.energy, mu)


def _is_gaussian(y):
    return isinstance(y, Gaussian)

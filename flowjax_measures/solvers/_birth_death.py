r"""Birth and death: weights become numbers of particles ([lu2019]).

After a step of any solver, n particles of masses w_i are drawn again by systematic resampling: a
particle is copied ⌊n w_i/Σw⌋ or ⌈n w_i/Σw⌉ times, n w_i/Σw in the mean, and all masses are Σw/n.
"""

import math

import diffrax
import jax
import jax.numpy as jnp

from .._custom_types import PRNGKey, Scalar
from .._numerics._checks import check_key
from ..measures import Particles
from ..measures._base import concrete, replace
from ._base import step_index


class BirthDeath(diffrax.AbstractWrappedSolver, diffrax.AbstractSolver):
    """A solver for particles whose masses grow, that turns masses into copies.

    Not differentiable through the choice of copies.

    **Arguments:** `key`: for the drawing. `threshold`: resample where the effective number
    (Σw)²/Σw² is at most this share of n; 1 always does. `solver`: what steps points and masses.

    !!! example

        `simulate(GradientFlow(KL(V, kernel), WassersteinFisherRao()), mu, ts, dt=dt, key=key,
        solver=BirthDeath(other_key))`
    """

    key: PRNGKey
    threshold: Scalar = 0.5
    solver: diffrax.AbstractSolver = diffrax.Euler()

    def __check_init__(self):
        check_key(self.key)
        if concrete(self.threshold) and not 0 < self.threshold <= 1:
            raise ValueError(f"`threshold` is {self.threshold}; give a share in (0, 1].")

    @property
    def term_structure(self):
        return self.solver.term_structure

    @property
    def interpolation_cls(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.interpolation_cls

    @property
    def term_compatible_contr_kwargs(self):
        return self.solver.term_compatible_contr_kwargs

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        return self.solver.error_order(terms)

    def init(self, terms, t0, t1, y0, args):
        return self.solver.init(terms, t0, t1, y0, args)

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        if not isinstance(y0, Particles) or y0.log_w is None:
            raise ValueError(
                "BirthDeath was given a state without growing masses. Run it from `Particles` "
                "under a system with growth, such as a flow in `WassersteinFisherRao()`."
            )
        y1, *rest = self.solver.step(terms, t0, t1, y0, args, solver_state, made_jump)
        index = step_index(terms, t0, t1)
        return _resample(y1, jax.random.fold_in(self.key, index), self.threshold), *rest


def _resample(y, key, threshold):
    n = len(y.log_w)
    weights = jax.nn.softmax(y.log_w)
    even = jnp.full_like(y.log_w, jax.nn.logsumexp(y.log_w) - math.log(n))
    steps = jnp.arange(n, dtype=weights.dtype)
    ladder = (steps + jax.random.uniform(key, (), weights.dtype)) / n
    chosen = jnp.clip(jnp.searchsorted(jnp.cumsum(weights), ladder), 0, n - 1)
    copies = jax.tree.map(lambda a: a[chosen], y.x)
    few = 1 / jnp.sum(weights**2) <= threshold * n
    pick = lambda a, b: jnp.where(few, a, b)  # noqa: E731
    return replace(y, x=jax.tree.map(pick, copies, y.x), log_w=pick(even, y.log_w))

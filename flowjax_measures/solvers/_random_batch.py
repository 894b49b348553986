r"""Random batches: each step costs n·p pairs instead of n² ([jin2020]).

At every step the n particles are parted at random into batches of p, and a particle sees its own:
itself with weight 1/n, each of the other p − 1 with weight (n − 1)/(n(p − 1)). The mean of such a
sum over all partitions is the sum over all particles; its variance is of order 1/(p − 1).
"""

import dataclasses
import math
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._custom_types import PRNGKey
from .._numerics._checks import check_key, check_positive
from .._system import AbstractMeanField
from ..measures import AbstractMeasure, Particles
from ..measures._base import place
from ..measures._pushed import Pushed
from ..simulation._terms import Problem
from ._base import AbstractScheme, step_index


class RandomBatch(AbstractScheme):
    r"""Steps of a mean-field system from particles of equal masses, in random batches.

    Means without a tilt, such as sums of a kernel, are unbiased at each step, and the law of the
    run is off by O(dt). Tilted means and log-normalisers are ratios and logarithms of unbiased
    sums, off by O(1/p). A stage of `solver` sees the batches of its step.

    **Arguments:** `size`: p ≥ 2, a divisor of n. `key`: for the partitions. `solver`: what steps.

    !!! example

        `simulate(McKeanVlasov(None, kernel), mu, ts, dt=dt, key=key, solver=RandomBatch(2, key))`
    """

    size: int = eqx.field(static=True)
    key: PRNGKey
    solver: diffrax.AbstractSolver = diffrax.Euler()

    def __check_init__(self):
        check_positive("size", self.size, 2)
        check_key(self.key)

    @property
    def term_structure(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.solver.term_structure

    @property
    def orders(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1, 0.5

    def init(self, terms, t0, t1, y0, args):
        return self.solver.init(terms, t0, t1, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        index = step_index(terms, t0, t1)
        key = jax.random.fold_in(self.key, index)
        is_problem = lambda node: isinstance(node, Problem)  # noqa: E731
        drawn = jax.tree.map(
            lambda node: self._drawn(node, y0, key) if is_problem(node) else node, terms,
            is_leaf=is_problem,
        )  # fmt: skip
        return self.solver.step(drawn, t0, t1, y0, args, solver_state, made_jump)

    def _drawn(self, problem: Problem, y0, key) -> Problem:
        system, state = problem.system, problem.merge(y0)
        equal = isinstance(state, Particles) and state.log_w is None and state.sharding is None
        if not equal or not isinstance(system, AbstractMeanField):
            raise ValueError(
                "RandomBatch steps a mean-field system from `Particles` of equal masses on one "
                f"device; it was given {type(system).__name__} and {type(state).__name__}. Leave "
                "out `solver`, `log_w` or `sharding`."
            )
        if self.size < 2 or state.size() % self.size:
            raise ValueError(
                f"`size` of RandomBatch is {self.size} for {state.size()} particles; give a "
                "divisor of their number that is at least 2."
            )
        order = jax.random.permutation(key, state.size())
        members = order.astype(jnp.int32).reshape(-1, self.size)
        return dataclasses.replace(problem, system=_Batches(system, members))


class _Batches(AbstractMeanField):
    """A system whose points see the batch that they are in."""

    system: AbstractMeanField
    members: Int[Array, "batches p"]

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.system.calculus

    def rates(self, t, x, mu):
        n, p = self.members.size, self.members.shape[1]
        mine = (
            jnp.zeros(n, jnp.int32)
            .at[self.members.ravel()]
            .set(jnp.arange(n, dtype=jnp.int32) // p)
        )
        members = self.members[mine[place()]]
        x_members, log_w = jax.tree.map(lambda a: a[members], (mu.x, mu.log_weights()))
        others = jnp.asarray(math.log((n - 1) / (p - 1)), log_w.dtype)
        log_w = log_w + jnp.where(members == place(), 0, others)
        return self.system.rates(t, x, _Batch(Particles(x_members, log_w)))


class _Batch(AbstractMeasure):
    """What one point sees of the particles."""

    members: Particles

    flows: ClassVar[tuple[str, ...]] = ()

    def atoms(self):
        return self.members.atoms()

    def lift(self, rates):
        raise ValueError("A batch is seen by its points; it does not move by itself.")

    def retract(self):
        return self

    def tilt(self, fn, logits):
        return self.members.tilt(fn, logits)

    def covariance(self):
        return self.members.covariance()

    def sample(self, key, n):
        return self.members.sample(key, n)

    def push(self, fn):
        return Pushed(self, fn)

    def weighted(self):
        return self

    def check(self):
        self.members.check()

    def numbered(self):
        raise ValueError(
            "RandomBatch was given a system that tells its points apart (a graph, a causal order): "
            "a batch has no first or second point. Leave out `solver`."
        )

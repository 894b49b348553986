"""The loss of a fit as a function of unconstrained variables."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from .._custom_types import FloatScalar, PRNGKey
from .._numerics import jitted
from .._system import AbstractMeanField
from ..inference import self_test, velocity_error
from ..inference._parameters import Parameters
from ..measures import Particles
from ..measures._base import is_measure, replace
from ..noise._noise import floating
from ..simulation._simulate import simulate
from ._asked import Runs
from ._increments import increment_likelihood
from ._losses import Distance, average


class Later(AbstractMeanField):
    """A system whose clock starts later."""

    system: AbstractMeanField
    start: FloatScalar

    @property
    def calculus(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.system.calculus

    def rates(self, t, x, mu):
        return self.system.rates(t + self.start, x, mu)


class Objective(eqx.Module):
    """The loss as a function of unconstrained variables; all that it depends on are its fields.

    `initial` is stacked where it is of several `populations`. What is drawn, is drawn from the key
    that an evaluation is given.
    """

    parameters: Parameters
    loss: Callable
    times: tuple[float, ...] = eqx.field(static=True)
    initial: PyTree
    populations: int = eqx.field(static=True)
    snapshots: list
    velocities: list | None
    runs: Runs
    forward: bool = eqx.field(static=True)

    def __call__(self, free: list[Array], draw: PRNGKey | None = None) -> FloatScalar:
        system = self.parameters.with_values(self.parameters.constrained(free))
        initial, snapshots = self.initial, self.snapshots
        if self.runs.batch is not None and draw is not None:
            initial, snapshots = _drawn(initial, snapshots, self.runs.batch, draw)
        name = self.loss.name if isinstance(self.loss, Distance) else None
        if name == "increments":
            return increment_likelihood(system, self.times, snapshots)
        if name == "self_test":
            return self_test(system, self.times, snapshots)
        if self.velocities is not None:  # "jko"
            return velocity_error(system, self.times[1:], snapshots[1:], self.velocities)
        if self.runs.shooting is None:
            states = self._run(system, self.times, initial, self.runs.key)
            return average(self.loss, states, snapshots[1:])
        return self._shoot(system, snapshots, self.runs.shooting, draw)

    def _run(self, system, times, initial, key) -> list:
        """The states at all times but the first."""

        def one(start, key):
            run = simulate(
                system, start, times, dt=self.runs.dt, key=key, throw=False, **self.runs.options
            )
            # `ys` holds the arrays of the states alone.
            return run.ys, eqx.filter(run.final, eqx.is_array, inverse=True)

        if self.populations == 1:
            ys, rest = one(initial, key)
        else:
            keys = None if key is None else jr.split(key, self.populations)
            axes = eqx.if_array(0), None if key is None else 0
            ys, rest = eqx.filter_vmap(one, in_axes=axes, out_axes=eqx.if_array(1))(initial, keys)
        states = [eqx.combine(jax.tree.map(lambda a, i=i: a[i], ys), rest)
                  for i in range(1, len(times))]  # fmt: skip
        return states if self.populations == 1 else [_mixture(state) for state in states]

    def _shoot(self, system, snapshots, length, draw) -> Array:
        """The mean over runs of `length` intervals, each from an observed snapshot."""
        last = len(self.times) - 1 - length
        starts = sorted({*range(0, last, length), last})
        times = np.asarray(self.times)
        windows = [times[k : k + length + 1] - times[k] for k in starts]
        parts = [snapshots[k : k + length + 1] for k in starts]
        kinds = {(jax.tree.structure(p), *(a.shape for a in jax.tree.leaves(p))) for p in parts}
        alike = len(kinds) == 1 and np.allclose(windows, windows[0], rtol=1e-9, atol=0)
        if not (alike and isinstance(system, AbstractMeanField)):
            if self.runs.pieces is not None:
                raise ValueError(
                    "`pieces` are drawn where all are alike: give times at equal distances and "
                    "snapshots of as many particles."
                )
            values = [
                average(self.loss, self._run(system, self.times[k : k + length + 1], p[0],
                                             self._keyed(k)), p[1:])
                for k, p in zip(starts, parts, strict=True)
            ]  # fmt: skip
            return sum(values[1:], values[0]) / len(values)
        chosen = jnp.asarray(starts)
        if self.runs.pieces is not None and draw is not None:
            chosen = jr.choice(jr.fold_in(draw, 1), chosen, (self.runs.pieces,), replace=False)
        arrays, rest = zip(*[eqx.partition(s, eqx.is_array) for s in snapshots], strict=True)
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *arrays)
        window = tuple(float(f"{t:.12g}") for t in windows[0])

        def piece(k):
            part = [
                eqx.combine(jax.tree.map(lambda a, j=j: a[k + j], stacked), rest[0])
                for j in range(length + 1)
            ]
            later = Later(system, jnp.asarray(times)[k].astype(self._dtype()))
            return average(self.loss, self._run(later, window, part[0], self._keyed(k)), part[1:])

        return jnp.mean(jax.lax.map(piece, chosen))

    def _keyed(self, k):
        return None if self.runs.key is None else jr.fold_in(self.runs.key, k)

    def _dtype(self):
        return jnp.result_type(
            *[a for a in jax.tree.leaves(self.initial) if eqx.is_inexact_array(a)]
        )

    def information(self, name: str, value: float) -> float | None:
        """How often the loss is to be counted to be −log L; None where it is no likelihood."""
        intervals = len(self.times) - 1
        if name == "summaries":
            return float(intervals)
        first = self.snapshots[1]
        if name == "increments":
            system = self.parameters.system
            noise = eqx.filter_eval_shape(lambda: system(jnp.zeros(()), first)).noise
            return None if noise is None else float(intervals * first.size())
        if name == "trajectory" and isinstance(first, Particles):
            numbers = sum(a.size for a in jax.tree.leaves(floating(first.x))) * intervals
            freedom = numbers - sum(theta.size for theta in self.parameters.values())
            # −log L = Σ |e|²/2σ² with σ² = Σ |e|²/freedom; the loss is the mean of |e|² a point.
            return freedom / (2 * value) if value > 0 and freedom > 0 else None
        return None

    def without_cones(self) -> "Objective":
        """The same loss, where it has a Hessian; see `Distance.without_cones`."""
        if not isinstance(self.loss, Distance):
            return self
        return eqx.tree_at(lambda o: o.loss, self, self.loss.without_cones(self.snapshots))


@jitted
def value_and_gradient(objective: Objective, free: list[Array], draw: PRNGKey | None = None):
    """The loss and its gradient, by tangents of all numbers or by a reverse pass."""
    if not objective.forward:
        return jax.value_and_grad(objective)(free, draw)
    flat, unravel = ravel_pytree(free)
    along = lambda v: jax.jvp(lambda u: objective(unravel(u), draw), (flat,), (v,))  # noqa: E731
    values, slopes = jax.vmap(along)(jnp.eye(flat.size, dtype=flat.dtype))
    return values[0], unravel(slopes)


def sizes(state: Any) -> tuple[int, ...]:
    measures = jax.tree.leaves(state, is_leaf=is_measure)
    return tuple(mu.size() if isinstance(mu, Particles) else 0 for mu in measures)


def _drawn(initial: Any, snapshots: list, count: int, draw: PRNGKey) -> tuple[Any, list]:
    """A number of particles of each; the same ones, where all have as many."""
    same = len({sizes(s) for s in (initial, *snapshots)}) == 1

    def some(state, k):
        key = jr.fold_in(draw, 0 if same else k + 2)
        return jax.tree.map(lambda mu: _choose(mu, key, count), state, is_leaf=is_measure)

    return some(initial, len(snapshots)), [some(s, k) for k, s in enumerate(snapshots)]


def _choose(mu: Any, key: PRNGKey, count: int) -> Particles:
    index = jr.choice(key, mu.size(), (count,), replace=False)
    x, log_w = jax.tree.map(lambda a: a[index], (mu.x, mu.log_w))
    return replace(mu, x=x, log_w=log_w, sharding=None)


def _mixture(state: Particles) -> Particles:
    """Stacked populations as one."""
    flat = lambda a: a.reshape(-1, *a.shape[2:])  # noqa: E731
    populations = jax.tree.leaves(state.x)[0].shape[0]
    x, log_w = jax.tree.map(flat, (state.x, state.log_w))
    return replace(state, x=x, log_w=None if log_w is None else log_w - np.log(populations))

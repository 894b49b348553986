"""`stepper`: one step at a time, for those who hold the loop."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._custom_types import FloatScalar, PRNGKey
from .._numerics import checked
from .._system import AbstractSystem
from ._arguments import check, check_times, fixed, real_dtype
from ._brownian import Inside, OfStep, StepKeyed
from ._progress import bar
from ._request import Request
from ._schedule import Schedule, schedule
from ._simulate import method_of


class Carry(eqx.Module):
    """Where a run is, between two steps: a pytree of arrays, for scans and vmaps.

    - `state`: the measure, or the state of any kind; `time`: its time; `steps`: steps taken.
    """

    state: Any
    steps: Array
    key: PRNGKey | None
    start: Schedule
    inner: PyTree

    @property
    def time(self) -> Array:
        """The time of `state`."""
        return self.start.origin + self.start.h[0] * self.steps.astype(self.start.h.dtype)


class Stepper(eqx.Module):
    """What `stepper` returns: `init` makes a carry, `step` moves it by `dt`.

    !!! example

        `fm.stepper(fm.MeanShift(), 0.1).step`
    """

    system: AbstractSystem
    dt: float = eqx.field(static=True)
    solver: diffrax.AbstractSolver | None

    def init(self, state: Any, key: PRNGKey | None = None, t0: FloatScalar | int = 0.0) -> Carry:
        """The start of a run at time `t0`; `key` is needed for noise."""
        check(self.system, state, key, None, None, self.solver)
        dtype, t0 = real_dtype(state), float(t0)
        ts = check_times(np.array([t0, t0 + self.dt]), self.dt)
        times = schedule(ts, np.ones(1, np.int64), dtype, self.dt)
        start = jax.tree.map(jnp.asarray, times)
        method, y, shapes = method_of(self._asked(state, key), start.origin)
        path = self._path(method, shapes, start, jnp.zeros((), jnp.int32), key)
        inner = method.solver.init(
            method.terms(path, y), start.base[0], start.base[0] + start.h[0], y, None
        )
        merged = method.problem.merge(y)
        return Carry(merged, jnp.zeros((), jnp.int32), key, start, inner)

    def step(self, carry: Carry) -> Carry:
        """The carry after one step."""
        method, y, terms, (t0, t1) = self._next(carry, carry.state)
        y, _, _, inner, _ = method.solver.step(terms, t0, t1, y, None, carry.inner, False)
        return Carry(method.problem.merge(y), carry.steps + 1, carry.key, carry.start, inner)

    def moved(self, carry: Carry, state: Any) -> Carry:
        """The carry with another state at the same time; what a solver remembers begins anew."""
        method, y, terms, (t0, t1) = self._next(carry, state)
        inner = method.solver.init(terms, t0, t1, y, None)
        return Carry(method.problem.merge(y), carry.steps, carry.key, carry.start, inner)

    def _next(self, carry: Carry, state: Any) -> tuple[Any, Any, Any, tuple[Array, Array]]:
        """The method, what moves of the state, and the terms of the next step and its ends."""
        start, k = carry.start, carry.steps
        method, y, shapes = method_of(self._asked(state, carry.key), start.origin)
        method = eqx.tree_at(lambda m: m.problem.first, method, start.first[0])
        h = start.h[0]
        ends = h * k.astype(h.dtype), h * (k + 1).astype(h.dtype)
        return method, y, method.terms(self._path(method, shapes, start, k, carry.key), y), ends

    def _asked(self, state: Any, key: PRNGKey | None) -> Request:
        return Request(
            self.system, state, self.dt, key, None, fixed(self.solver), None, None, None,
            bar(False), None, None,
        )  # fmt: skip

    def _path(self, method: Any, shapes: Any, start: Schedule, k: Array, key: Any) -> Any:
        if shapes is None:
            return None
        index, h = start.first[0] + k, start.h[0]
        if method.parted:
            return Inside(key, shapes, method.levels, index, h * k.astype(h.dtype), h)
        return OfStep(StepKeyed(key, shapes, method.levels).one(index), h)


@checked
def stepper(
    system: AbstractSystem, dt: float, solver: diffrax.AbstractSolver | None = None
) -> Stepper:
    """Steps of a system in a loop of your own: the same path as `simulate` with the same key.

    **Arguments:** `system`, `dt`, `solver`: as of `simulate`, at constant steps.

    **Returns:** an object with `init(state, key=None, t0=0.0)` and `step(carry)`; both can be
    jitted, scanned, vmapped and differentiated. `moved(carry, state)` goes on from another state.

    **Raises:** `ValueError` that names the argument.

    !!! example

        ```python
        loop = fm.stepper(fm.SelfAttention(beta=2.0), dt=0.1)
        carry = loop.init(tokens)
        carry, spread = jax.lax.scan(
            lambda c, _: (loop.step(c), fm.dispersion(c.state)), carry, length=100
        )
        ```
    """
    return Stepper(system, float(dt), solver)

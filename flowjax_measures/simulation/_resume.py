"""Long runs in pieces, each written to disk: a run that was killed goes on, bit for bit."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, PyTree

from .._custom_types import FloatScalar, PRNGKey
from .._system import AbstractMeanField, AbstractSystem, Averaged
from ..measures import Gaussian
from ..storage._progress import counted
from ..storage.checkpoint import environment, fingerprint, load, save
from . import _constant_step, _simulate
from ._arguments import check, check_noise, check_times
from ._terms import StepKeyed, pose, silent


class _Later(AbstractSystem):
    """A system whose clock starts later."""

    system: AbstractSystem
    start: FloatScalar

    def __call__(self, t, state):
        return self.system(t + self.start, state)


def simulate_resumable(
    folder: str | os.PathLike,
    system: AbstractSystem,
    state: Any,
    ts: ArrayLike | Sequence[float | int],
    *,
    dt: float | int,
    key: PRNGKey | None = None,
    observe: PyTree[Callable[[Any], Any]] = None,
    solver: diffrax.AbstractSolver | None = None,
    every: int = 1,
    throw: bool = True,
    progress: bool = False,
) -> _simulate.Trajectory:
    """`simulate` at constant steps, written to disk as it goes.

    Called again with the same arguments after it was stopped, by a signal, a crash or the end of
    an allocation, it goes on from the last piece that was written. The result is bit for bit that
    of the run without a stop: one compiled program takes all pieces of equal length. It is that of
    `simulate` to round-off.

    **Arguments:** those of `simulate`, and

    - `folder`: where the pieces are written, one folder for a run.
    - `every`: how many intervals of `ts` make a piece.

    **Raises:** `ValueError` where the folder holds another run, or a damaged file.

    !!! example

        `fm.simulate_resumable("runs/a", system, mu, jnp.linspace(0, 100, 1001), dt=1e-3, key=key,
        every=10)`
    """
    check(system, state, key, observe, None)
    if every < 1:
        raise ValueError(f"`every` is {every}; give a positive number of intervals of `ts`.")
    times = np.asarray(check_times(ts, dt))
    folder, dt = Path(folder), float(dt)
    counts, first = _constant_step.plan(times, dt)
    # As in `simulate`: parameters are traced, and without a key shared noise is averaged.
    law = jax.tree.map(lambda a: jnp.asarray(a) if type(a) is float else a, system)
    if key is None and isinstance(state, Gaussian) and isinstance(law, AbstractMeanField):
        law = Averaged(law)
    dtype = _dtype(state)
    problem, y = pose(law, state, jnp.asarray(times[0], dtype))

    def arguments(start, y):
        # Spans that differ by round-off alone are one program.
        ends = times[start : start + every + 1]
        spans = tuple(float(f"{span:.10g}") for span in np.diff(ends))
        clock = jnp.asarray(times[start], dtype), jnp.asarray(first[start], jnp.int32)
        return law, state, y, key, clock, spans, dt, observe, solver

    program = _advance.lower(*arguments(0, y)).as_text()
    config = fingerprint((program, system, state, times, dt, key, every, environment()))
    carry = 0, y, np.inf
    if (folder / "state").exists():
        carry = load(folder / "state", carry, config)

    done, y, bad_time = carry
    pieces = []
    for piece, start in enumerate(counted(range(0, len(counts), every), progress)):
        path = folder / f"piece-{piece:06d}"
        if piece < done:
            like = eqx.filter_eval_shape(_advance, *arguments(start, y))[0]
            pieces.append(load(path, like, config))
            continue
        ys, y, bad = _advance(*arguments(start, y))
        bad_time = min(bad_time, float(bad))
        save(path, ys, config)
        save(folder / "state", (piece + 1, y, bad_time), config)
        pieces.append(ys)

    ys = [jax.tree.map(lambda a: a[1:], p) if i else p for i, p in enumerate(pieces)]
    ys = jax.tree.map(lambda *a: jnp.concatenate(a), *ys)
    stats = {
        "num_steps": int(counts.sum()),
        "bad_time": jnp.asarray(bad_time, dtype),
        "t_final": jnp.asarray(times[-1], dtype),
    }
    results = _simulate.Results
    bad = jnp.isfinite(stats["bad_time"])
    result = _simulate._where(bad, results.nonfinite, results.successful)
    ts = jnp.asarray(times, dtype)
    run = _simulate.Trajectory(ts, ys, problem.merge(y), result, stats)
    return _simulate._raise(run) if throw else run


def _dtype(state):
    floats = [a for a in jax.tree.leaves(state) if eqx.is_inexact_array(a)]
    return jnp.result_type(*floats or [float])


@eqx.filter_jit
def _advance(system, state, y, key, clock, spans, dt, observe, solver):
    """One piece: what is observed at its times, the end, and when it stopped being finite."""
    start, offset = clock
    problem, _ = pose(_Later(system, start), state, jnp.zeros_like(start))
    shapes = problem.brownian(jnp.zeros_like(start), y)
    stochastic = shapes is not None
    shapes = None if silent(shapes) else shapes
    if shapes is not None:
        check_noise(dt, key, None)
    if solver is None:
        solver = _simulate._solver(system, stochastic, None)
    path = None if shapes is None else StepKeyed(key, shapes, offset)
    ts = np.concatenate([[0.0], np.cumsum(spans)])
    watch = _simulate._observer(problem, observe)
    meter = diffrax.NoProgressMeter()
    run = _constant_step.run(problem, solver, y, ts, dt, path, watch, "none", meter)
    return run.ys, run.final, start + run.bad_time

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
from tqdm import tqdm

from . import _constant_step, _simulate
from ._custom_types import FloatScalar, PRNGKey
from ._system import AbstractMeanField, AbstractSystem, Averaged
from ._terms import StepKeyed, pose
from .checkpoint import environment, fingerprint, load, save
from .measures import Gaussian


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
    _simulate._check(system, state, None)
    if every < 1:
        raise ValueError(f"`every` is {every}; give a positive number of intervals of `ts`.")
    times = np.asarray(_simulate._times(ts, dt))
    folder, dt = Path(folder), float(dt)
    counts, first = _constant_step.plan(times, dt)
    program = solver, observe, counts.tolist(), every, environment()
    config = fingerprint((system, state, times, dt, key, program))
    # As in `simulate`: parameters are traced, and without a key shared noise is averaged.
    system = jax.tree.map(lambda a: jnp.asarray(a) if type(a) is float else a, system)
    if key is None and isinstance(state, Gaussian) and isinstance(system, AbstractMeanField):
        system = Averaged(system)
    t0 = times[0].item()
    y = pose(system, state, jnp.asarray(t0, _dtype(state)))[1]
    carry = 0, y, np.inf
    if (folder / "state").exists():
        carry = load(folder / "state", carry, config)

    done, y, bad_time = carry
    starts = range(0, len(counts), every)
    pieces = []
    for piece, start in enumerate(tqdm(starts, disable=not progress)):
        stop = min(start + every, len(counts))
        # Spans that differ by round-off alone are one program.
        spans = tuple(float(f"{s:.10g}") for s in np.diff(times[start : stop + 1]))
        clock = jnp.asarray(times[start], _dtype(state)), jnp.asarray(first[start], jnp.int32)
        arguments = system, state, y, key, clock, spans, dt, observe, solver
        path = folder / f"piece-{piece:06d}"
        if piece < done:
            pieces.append(load(path, eqx.filter_eval_shape(_advance, *arguments)[0], config))
            continue
        ys, y, bad = _advance(*arguments)
        bad_time = min(bad_time, float(bad))
        save(path, ys, config)
        save(folder / "state", (piece + 1, y, bad_time), config)
        pieces.append(ys)

    ys = [jax.tree.map(lambda a: a[1:], p) if i else p for i, p in enumerate(pieces)]
    ys = jax.tree.map(lambda *a: jnp.concatenate(a), *ys)
    problem = pose(system, state, jnp.asarray(t0, _dtype(state)))[0]
    stats = {
        "num_steps": int(counts.sum()),
        "bad_time": jnp.asarray(bad_time, _dtype(state)),
        "t_final": jnp.asarray(times[-1], _dtype(state)),
    }
    results = _simulate.Results
    result = _simulate._where(
        jnp.isfinite(stats["bad_time"]), results.nonfinite, results.successful
    )
    run = _simulate.Trajectory(
        jnp.asarray(times, _dtype(state)), ys, problem.merge(y), result, stats
    )
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
    if shapes is not None:
        _simulate._check_noise(dt, key, None)
    if solver is None:
        solver = _simulate._solver(system, shapes is not None, None)
    path = None if shapes is None else StepKeyed(key, shapes, offset)
    ts = np.concatenate([[0.0], np.cumsum(spans)])
    watch = _simulate._observer(problem, observe)
    meter = diffrax.NoProgressMeter()
    run = _constant_step.run(problem, solver, y, ts, dt, path, watch, "none", meter)
    return run.ys, run.final, start + run.bad_time

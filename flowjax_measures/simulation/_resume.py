"""Long runs in pieces, each written to disk: a run that was killed goes on, bit for bit."""

import contextlib
import dataclasses
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

from .._custom_types import Count, PRNGKey
from .._numerics import checked, compiled
from .._system import AbstractSystem
from ..storage._folder import claimed, emptied
from ..storage._progress import counted
from ..storage.checkpoint import environment, load, save
from . import _constant_step, _simulate
from ._arguments import check, check_span, check_times, fixed, real_dtype
from ._brownian import StepKeyed
from ._constant_step import _Interval
from ._progress import bar
from ._request import Request
from ._schedule import Schedule
from ._simulate import method_of, planned
from ._verdict import Results, raised


@checked
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
    every: Count = 1,
    overwrite: bool = False,
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
    - `overwrite`: whether to begin anew where `folder` holds a run, this or another.

    Later times may be added to `ts`: what is there is kept.

    **Raises:** `ValueError` where the folder holds another run, or a damaged file.

    !!! example

        `fm.simulate_resumable("runs/a", system, mu, jnp.linspace(0, 100, 1001), dt=1e-3, key=key,
        every=10)`
    """
    check(system, state, key, observe, None, solver)
    if every < 1:
        raise ValueError(f"`every` is {every}; give a positive number of intervals of `ts`.")
    times, dtype, folder = check_times(ts, dt), real_dtype(state), Path(folder)
    check_span(system, times)
    step, whole = planned(times, dt, None, dtype)
    asked = Request(
        system, state, step, key, observe, fixed(solver), None, None, None,
        bar(False), "none", None,
    )  # fmt: skip
    if asked.loop:
        raise ValueError(
            f"`solver`: {type(solver).__name__} needs diffrax's own loop, whose state is not "
            "stored. Take an explicit solver."
        )
    chosen, y, _ = method_of(asked, jnp.asarray(whole.origin))
    intervals = whole.count.size

    def arguments(start, y):
        return asked, y, _part(whole, start, start + every)

    folder = emptied(folder, overwrite, "state", "piece-*")
    config = {
        "program": _advance.lower(*arguments(0, y)).as_text(), "system": system, "state": state,
        "dt": dt, "key": key, "every": every, "environment": environment(),
    }  # fmt: skip
    starts = range(0, intervals, every)

    def of_piece(start):
        return config | {"times": times[start : start + every + 1]}

    def written(piece):
        path, start = folder / f"piece-{piece:06d}", starts[piece]
        like = eqx.filter_eval_shape(_advance, *arguments(start, y))[0]
        return load(path, like, of_piece(start), number=piece, argument="folder")

    carry = 0, y, np.inf  # intervals that are done, and where they end
    if (folder / "state").exists():
        carry = load(folder / "state", carry, config, argument="folder")
    if carry[0] > intervals:
        raise ValueError(
            f"`folder`: {folder} holds a run of {carry[0]} intervals, longer than `ts` of "
            f"{intervals}. Give its times, another `folder`, or `overwrite=True`."
        )
    done = -(-carry[0] // every)
    whole_pieces = carry[0] % every == 0 or carry[0] == intervals
    there = all((folder / f"piece-{piece:06d}").exists() for piece in range(done))
    if not (whole_pieces and there):
        # No state but the last is kept: from the start, with the same bits.
        done, carry = 0, (0, y, np.inf)
    pieces = [written(piece) for piece in range(done)]
    _, y, bad_time = carry
    left = range(done, len(starts))
    with claimed(folder) if left else contextlib.nullcontext():
        for piece in counted(left, progress, "simulate"):
            ys, y, bad = _advance(*arguments(starts[piece], y))
            bad_time = min(bad_time, float(bad))
            save(folder / f"piece-{piece:06d}", ys, of_piece(starts[piece]), number=piece)
            save(folder / "state", (min(starts[piece] + every, intervals), y, bad_time), config)
            pieces.append(ys)

    ys = [jax.tree.map(lambda a: a[1:], p) if i else p for i, p in enumerate(pieces)]
    ys = jax.tree.map(lambda *a: jnp.concatenate(a), *ys)
    stats = {
        "num_steps": whole.total,
        "bad_time": jnp.asarray(bad_time, dtype),
        "t_final": jnp.asarray(times[-1], dtype),
    }
    bad = jnp.isfinite(stats["bad_time"])
    result = _simulate.where(bad, Results.nonfinite, Results.successful)
    ts = jnp.asarray(times, dtype)
    run = _simulate.Trajectory(ts, ys, chosen.problem.merge(y), result, stats)
    return raised(run) if throw else run


def _part(whole: Schedule, start: int, end: int) -> Schedule:
    """Some intervals of a schedule, whose numbers of steps are those of the whole."""
    span = slice(start, min(end, whole.count.size))
    inner = {name: getattr(whole, name)[span] for name in _Interval._fields}
    count = inner["count"]
    return dataclasses.replace(
        whole, **inner, times=whole.times[span.start : span.stop + 1], total=int(count.sum()),
        longest=int(count.max()), ragged=bool(np.ptp(count)), even=not np.any(inner["first"] % 2),
        uniform=not np.any(inner["fresh"][1:]),
    )  # fmt: skip


@compiled
def _advance(asked: Request, y: PyTree, times: Schedule):
    """One piece: what is observed at its times, the end, and when it stopped being finite."""
    times = jax.tree.map(jnp.asarray, times)
    chosen, _, shapes = method_of(asked, times.origin)
    chosen = eqx.tree_at(lambda c: c.problem.first, chosen, times.first[0])
    keyed = None if shapes is None else StepKeyed(asked.key, shapes, chosen.levels)
    watch = _simulate.observer(chosen.problem, asked.observe)
    run = _constant_step.run(chosen, y, times, keyed, watch, "none", asked.meter)
    return run.ys, run.final, chosen.problem.clock(run.bad_time)

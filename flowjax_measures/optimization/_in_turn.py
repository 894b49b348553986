"""Runs of one objective in turn, within one budget: an opening, the run itself, restarts, a polish.

What a run leaves of the budget is the next one's; what has met its target leaves nothing.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._custom_types import PRNGKey
from ..measures import AbstractMeasure, Particles
from ..measures._base import concrete
from ._polish import kept_for, polished
from ._result import OptimizeResult
from ._run import Files, run
from ._setup import Options, Prepared, default_budget, default_particles, prepare
from ._start import dimension_of, walls_of

_SHAPES = 40
"""Dimensions up to which a run opens by learning a covariance, whose root costs their cube."""


class Turn(NamedTuple):
    """A search, the folder within that of all, and its part of the budget where it has one."""

    prepared: Prepared
    folder: str = ""
    share: Any = None


def in_turn(
    objective: Callable[..., Any],
    initial: Any,
    key: PRNGKey,
    options: Options,
    restarts: int,
    polish: str | None,
    files: Files,
    max_time: float | None,
    progress: bool,
) -> OptimizeResult:
    """The best of all runs, with the evaluations and steps of all; see `minimize`."""
    own = prepare(objective, initial, key, options)
    try:
        turns = _turns(own, objective, initial, key, options, restarts)
        kept = None if polish is None else kept_for(polish, own)
        if len(turns) == 1 and kept is None:
            return run(own, files, max_time, progress)
        return _best_of(turns, own, kept, files, max_time, progress)
    finally:
        if own.host is not None:
            own.host.close()


def _turns(own, objective, initial, key, options, restarts) -> list[Turn]:
    """The runs in their order."""
    if restarts and isinstance(initial, Particles):
        raise ValueError(
            "`restarts` draw new points, more of them each time: give `bounds` or one point in "
            "place of `Particles`."
        )
    walls = None if options.bounds is None else walls_of(options.bounds, initial)
    dimension = dimension_of(initial, walls)
    budget = default_budget(dimension) if options.budget is None else options.budget
    count = options.particles or default_particles(dimension, options)
    more = lambda k, o, grow=1: prepare(  # noqa: E731
        objective, initial, jax.random.fold_in(key, k), o, grow, own
    )
    turns = [Turn(own)]
    if _opens(own, initial, options) and dimension <= _SHAPES:
        large = not concrete(budget) or budget > 5000 * dimension
        few = min(count, max(20, (20 if large else 10) * dimension))
        opening = options._replace(method="covariance", particles=few)
        share = _numpy(own.search.budget).maximum(_known(own.search.budget) // 5, 1000 * dimension)
        turns.insert(0, Turn(more(0, opening), "opening", share))
    for k in range(1, restarts + 1):
        turns.append(Turn(more(k, options._replace(particles=count), 2**k), f"restart-{k}"))
    return turns


def _opens(own: Prepared, initial: Any, o: Options) -> bool:
    """Whether nobody says how points are taken or moved, or when there is no progress."""
    said = (o.method, o.particles, o.batch, o.resampling, o.space, o.patience, o.deviation)
    free = all(a is None for a in (*said, own.search.images)) and not o.exponential
    return free and not isinstance(initial, AbstractMeasure)


def _best_of(turns, own, kept, files, max_time, progress) -> OptimizeResult:
    left = _known(own.search.budget) - (0 if kept is None else kept)
    found, begun = {}, time.monotonic()
    for prepared, folder, share in turns:
        room = left if share is None else _numpy(left, share).minimum(left, share)
        room = _numpy(room).maximum(room, 0)
        place = _within(files, folder)
        if concrete(room):
            # A number of its own: one that hangs on what was read from a file lowers otherwise.
            room = jnp.asarray(int(room), jnp.int32)
            place = place if int(room) else Files()
        search = dataclasses.replace(prepared.search, budget=room)
        rest = None if max_time is None else max_time - (time.monotonic() - begun)
        result = run(prepared._replace(search=search), place, rest, progress)
        status, taken = _known(result.status), _known(result.nfev)
        left = _numpy(left, status).where(status == 2, 0, left - taken)
        found[folder] = result
    merged = found[""]
    for folder, other in found.items():
        merged = _better_of(merged, other) if folder else merged
    histories = [(result.nit, result.history) for result in found.values()]
    merged = eqx.tree_at(lambda r: r.history, merged, _joined(histories))
    if kept is None:
        return merged
    return polished(own, merged, jnp.where(merged.status == 2, 0, left + kept))


def _numpy(*numbers: Any) -> Any:
    """What counts: NumPy where numbers are known, as each operation of JAX is a compilation."""
    return np if concrete(numbers) else jnp


def _known(number: Any) -> Any:
    return np.asarray(number) if concrete(number) else number


def _within(files: Files, folder: str) -> Files:
    if files.folder is None or not folder:
        return files
    return Files(Path(files.folder) / folder, files.overwrite)


@eqx.filter_jit
def _better_of(first: OptimizeResult, second: OptimizeResult) -> OptimizeResult:
    """The better of two runs, with the evaluations of both; the population is the first one's."""
    better = second.fun < first.fun
    pick = lambda a, b: jnp.where(better, b, a)  # noqa: E731
    merged = {
        name: jax.tree.map(pick, getattr(first, name), getattr(second, name))
        for name in ("x", "fun", "success", "status", "spread", "constr_violation")
    }
    merged |= {"nfev": first.nfev + second.nfev, "nit": first.nit + second.nit}
    return eqx.tree_at(
        lambda r: [getattr(r, name) for name in merged], first, list(merged.values())
    )


def _joined(histories: list[tuple[Array, PyTree]]) -> PyTree:
    """What the runs observed, one after another, each without what lies behind its last step."""
    begins, total = [], jnp.int32(0)
    for nit, _ in histories:
        begins.append(total)
        total = total + nit

    def join(*rows):
        if len({a.shape[1:] for a in rows}) > 1:
            raise ValueError(
                f"`observe` has values of shapes {[a.shape[1:] for a in rows]} in runs of "
                "different numbers of points; observe what has one shape, or say `particles`."
            )
        blank = jnp.nan if jnp.issubdtype(rows[0].dtype, jnp.inexact) else 0
        whole = jnp.full((sum(len(a) for a in rows), *rows[0].shape[1:]), blank, rows[0].dtype)
        for begin, a in zip(begins, rows, strict=True):
            # What lies behind the last step of a run is overwritten by the next one, or blank.
            whole = whole.at[begin + jnp.arange(len(a), dtype=jnp.int32)].set(a)
        return whole

    return jax.tree.map(join, *(history for _, history in histories))

"""The loops that drive a search: compiled, or in Python around what only the host can evaluate."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._numerics import collector_paused, jitted
from ..measures._base import concrete
from ..simulation._progress import bar
from ..storage._folder import claimed, emptied
from ..storage.checkpoint import environment, load, save, shapes
from ._black_box import Stored
from ._points import one_of, points_of, size_of
from ._result import OptimizeResult, finished
from ._search import Search, SearchState
from ._setup import Prepared
from ._state import with_


class Files(NamedTuple):
    """Where a run is written, and whether what is there is thrown away."""

    folder: str | os.PathLike | None = None
    overwrite: bool = False


def run(
    prepared: Prepared, files: Files, max_time: float | None = None, progress: bool = False
) -> OptimizeResult:
    """One search, by the loop that its objective and its files ask for."""
    search, points, one, many, host, steps = prepared
    watched = bool(jax.tree.leaves(search.observe, is_leaf=callable))
    if watched and steps == 0:
        raise ValueError("`observe` needs a `budget` that is known, not a traced one.")
    history = steps if watched else 0
    in_python = host is not None and concrete(points, search)
    if in_python or max_time is not None or files.folder is not None:
        if not concrete(points, search):
            raise ValueError(
                "`folder` and `max_time` are for runs outside of jit and vmap; leave them out."
            )
        return on_the_host(prepared, history, files, max_time, progress)
    with collector_paused():
        return compiled(search, points, one, many, history, bar(progress, "minimize"))


@jitted
def compiled(search: Search, points: Any, one: Callable, many: Callable, history: int, meter: Any):
    """The whole run as one compiled loop."""
    total = jnp.maximum(search.budget // search.cost(size_of(points)), 1)

    def step(carry):
        state, meter_state = carry
        state = search.tell(state, many(search.ask(state)))
        return state, meter.step(meter_state, state.nit / total)

    carry = search.begin(points, history), meter.init()
    state, meter_state = jax.lax.while_loop(lambda c: c[0].status == 0, step, carry)
    meter.close(meter_state)
    place = candidate(search, state)
    if place is None:
        return finish(search, state, None)
    evaluate = lambda: jnp.asarray(one(*place), state.values.dtype)  # noqa: E731
    worst = lambda: jnp.asarray(jnp.inf, state.values.dtype)  # noqa: E731
    value = jax.lax.cond(final_room(search, state), evaluate, worst)
    return finish(search, state, value)


def on_the_host(
    prepared: Prepared,
    history: int,
    files: Files,
    max_time: float | None,
    progress: bool,
) -> OptimizeResult:
    """The run as a loop in Python; what was found is written to `folder` after every step."""
    state = eqx.filter_jit(prepared.search.begin)(prepared.points, history)
    if files.folder is None:
        return _loop(prepared, state, None, {}, max_time, progress)
    folder = emptied(files.folder, files.overwrite, "state", "values", "end")
    config = _identity(prepared, state)
    with claimed(folder):
        if (folder / "state").exists():
            state = _found(prepared.search, folder / "state", state, config)
        return _loop(prepared, state, folder, config, max_time, progress)


def _found(search: Search, path: Path, like: SearchState, config: Any) -> SearchState:
    """The state in a file, with as much room for what is observed as `like` has."""
    leaves, structure = jax.tree.flatten(like)
    sizes = shapes(path)
    if len(sizes) == len(leaves):
        pairs = zip(leaves, sizes, strict=True)
        leaves = [a if a.shape == s else jax.ShapeDtypeStruct(s, a.dtype) for a, s in pairs]
    state = load(path, jax.tree.unflatten(structure, leaves), config, argument="folder")
    if not search.more(state):
        raise ValueError(
            f"`folder`: {path} holds a run of {int(state.nfev)} evaluations, which `budget` does "
            "not allow. Give that many and those of another step, or another `folder`."
        )

    def longer(room, a):
        # There are no more steps than room for them, in both.
        count = min(len(room), len(a))
        return room.at[:count].set(a[:count])

    return with_(state, history=jax.tree.map(longer, like.history, state.history))


def _identity(prepared: Prepared, state: SearchState) -> dict[str, Any]:
    """What a run is, by parts; an objective on the host is known by its name alone.

    When it stops is no part of it.
    """
    search, points, _, many, host, _ = prepared
    told = state.values[: search.role.rounds * (search.batch or size_of(state.points))]
    if host is None:
        objective = _many.lower(many, _ask(search, state)).as_text()
    else:
        kind = type(host.objective)
        objective = getattr(host.objective, "__qualname__", kind.__qualname__)
    first = with_(state, history=jax.tree.map(lambda a: a[:1], state.history))
    steps = _tell.lower(search, first, told).as_text()
    ends = ["budget", "target"]
    if search.resampling is None:
        ends += ["tol"] + ["patience"] * (search.deviation is None)
    search = dataclasses.replace(search, **dict.fromkeys(ends))
    return {
        "objective": objective, "method": (steps, search),
        "initial": points, "environment": environment(),
    }  # fmt: skip


def _loop(
    prepared: Prepared,
    state: SearchState,
    folder: Path | None,
    config: dict[str, Any],
    max_time: float | None,
    progress: bool,
) -> OptimizeResult:
    search, _, _, many, host, steps = prepared
    begun = time.monotonic()
    shown = _bar(steps, progress)
    while int(state.status) == 0:
        if max_time is not None and time.monotonic() - begun > max_time:
            state = with_(state, status=jnp.asarray(6, jnp.int32))
            break
        places = _ask(search, state)
        stored = None if folder is None else Stored(folder, int(state.nit), config)
        if host is None:
            values = _many(many, places)
        else:
            values = jnp.asarray(host(places, stored), state.values.dtype)
        state = _tell(search, state, values)
        shown(int(state.nit))
        if folder is None:
            continue
        if int(state.status) == 0:
            save(folder / "state", state, config)
        elif stored is not None and host is not None:
            # The step that ended the run stays open: with another end it is taken again.
            stored.write(np.ones(values.shape[0], bool), np.asarray(values, float))
    return finish(search, state, _at_the_end(prepared, state, folder, config))


def _at_the_end(
    prepared: Prepared, state: SearchState, folder: Path | None, config: dict[str, Any]
) -> Any:
    """The objective at the consensus, where there is room for it."""
    search, _, one, _, host, _ = prepared
    place, dtype = candidate(search, state), state.values.dtype
    if place is None or not bool(final_room(search, state)):
        return None if place is None else jnp.asarray(jnp.inf, dtype)
    if host is None:
        return jnp.asarray(one(*place), dtype)
    path, blank = None if folder is None else folder / "end", (0, np.zeros(()))
    if path is not None and path.exists():
        nit, value = load(path, blank, config, argument="folder")
        if nit == int(state.nit):
            return jnp.asarray(value, dtype)
    batch = jax.tree.map(lambda a: jnp.asarray(a)[None], place)
    value = host(batch if host.spread else batch[0])[0]
    if path is not None:
        save(path, (int(state.nit), np.asarray(value, float)), config)
    return jnp.asarray(value, dtype)


_ask = eqx.filter_jit(Search.ask)
_tell = eqx.filter_jit(Search.tell)


@jitted
def _many(many: Callable, places: Any):
    return many(places)


def _bar(steps: int, progress: bool) -> Callable[[int], Any]:
    if not progress:
        return lambda nit: None
    from tqdm import tqdm

    shown = tqdm(total=steps, desc="minimize")
    return lambda nit: shown.update(nit - shown.n)


def candidate(search: Search, state: SearchState) -> tuple | None:
    """The consensus as a place to evaluate at the end, as arguments of the objective."""
    if search.role.own or not search.one_consensus:
        return None
    if search.pair:
        return tuple(search.domain.nearest(state.consensus))
    place = jax.tree.map(lambda a: a[None], eqx.combine(state.consensus, state.best_x))
    place = search.domain.nearest(place, 20)
    place = jax.tree.map(lambda a: a[0], place)
    space = one_of(state.points).space
    return (space.nearest(place) if search.flat_points else place,)


def final_room(search: Search, state: SearchState):
    return state.nfev + 1 <= search.budget


def finish(search: Search, state: SearchState, value: Any) -> OptimizeResult:
    """The result, where `value` is the objective at the candidate, if there is one."""
    x, fun, nfev = state.best_x, state.best_value, state.nfev
    place = candidate(search, state)
    if place is not None and value is not None:
        value = jnp.where(jnp.isnan(value), jnp.inf, value)
        better = value < state.best
        nfev = nfev + jnp.int32(final_room(search, state))
        if search.pair:
            x, fun = place, value
        else:
            x = jax.tree.map(lambda a, b: jnp.where(better, a, b), place[0], x)
            fun = jnp.where(better, value, fun)
    rows = x if search.role.own else jax.tree.map(lambda a: a[None], x)
    violation = jnp.max(search.domain.violation(rows))
    role, points = search.role, points_of(state.points)
    success = finished(state.status, fun)
    return OptimizeResult(
        x=x, fun=fun, nfev=nfev, nit=state.nit, success=success, status=state.status,
        spread=state.width, history=state.history, constr_violation=violation,
        population=role.place(search.method, points), population_energies=state.values,
        radius=jnp.asarray(search.radius(state.points), state.values.dtype),
    )  # fmt: skip

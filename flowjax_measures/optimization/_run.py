"""The loops that drive a search: compiled, or in Python around what only the host can evaluate."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._numerics import jitted
from ..storage.checkpoint import environment, fingerprint, load, save
from ._black_box import Stored
from ._points import one_of, points_of, size_of
from ._result import OptimizeResult, finished
from ._search import Search, SearchState
from ._setup import Prepared


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
    prepared: Prepared, history: int, folder: Any, max_time: float | None, progress: bool
) -> OptimizeResult:
    """The run as a loop in Python; what was found is written to `folder` after every step."""
    search, points, one, many, host, steps = prepared
    begun = time.monotonic()
    state = eqx.filter_jit(search.begin)(points, history)
    config = None
    if folder is not None:
        folder = Path(folder)
        told = state.values[: search.role.rounds * (search.batch or size_of(state.points))]
        program = _tell.lower(search, state, told)
        config = fingerprint((program.as_text(), search, points, environment()))
        if (folder / "state").exists():
            state = load(folder / "state", state, config)
    bar = _bar(steps, progress)
    while int(state.status) == 0:
        if max_time is not None and time.monotonic() - begun > max_time:
            state = eqx.tree_at(lambda s: s.status, state, jnp.asarray(6, jnp.int32))
            break
        places = _ask(search, state)
        if host is None:
            values = _many(many, places)
        else:
            stored = None if folder is None else Stored(folder, int(state.nit), config)
            values = jnp.asarray(host(places, stored), state.values.dtype)
        state = _tell(search, state, values)
        bar(int(state.nit))
        if folder is not None:
            save(folder / "state", state, config)
    place, value = candidate(search, state), None
    if place is not None:
        value = jnp.asarray(jnp.inf, state.values.dtype)
        if bool(final_room(search, state)):
            if host is None:
                value = jnp.asarray(one(*place), value.dtype)
            else:
                batch = jax.tree.map(lambda a: jnp.asarray(a)[None], place)
                value = jnp.asarray(host(batch if host.spread else batch[0])[0], value.dtype)
    return finish(search, state, value)


_ask = eqx.filter_jit(Search.ask)
_tell = eqx.filter_jit(Search.tell)


@jitted
def _many(many: Callable, places: Any):
    return many(places)


def _bar(steps: int, progress: bool) -> Callable[[int], Any]:
    if not progress:
        return lambda nit: None
    from tqdm import tqdm

    bar = tqdm(total=steps)
    return lambda nit: bar.update(nit - bar.n)


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
        radius=jnp.asarray(search.radius, state.values.dtype),
    )  # fmt: skip


def best_of(first: OptimizeResult, second: OptimizeResult) -> OptimizeResult:
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

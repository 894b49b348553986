"""What `minimize` must know of a consensus system: where its points are, and what they agree on.

A point may hold more than its place: a velocity, a memory, preferences. A role says how points
begin at places, which places are evaluated, how they are numbered, and which consensus is awaited.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._system import Sum
from ..noise._noise import floating
from ..spaces import Phase
from ..systems.consensus import (
    AdamConsensus,
    AdamPoint,
    AdaptivePareto,
    ConsensusBasedSampling,
    Memory,
    MemoryConsensus,
    MirrorConsensus,
    ParetoConsensus,
    PolarizedConsensus,
    SaddleConsensus,
    SwarmConsensus,
)
from ..systems.consensus._weights import at
from ._points import minus


class Role(NamedTuple):
    """How a kind of system plays; all functions take points with leading axis n.

    - `begin`: points at places. `place`: their places. `put`: points, moved to places.
    - `asked`: the places that are evaluated, n or 2n, of a state and its points.
    - `tag`: points with numbered places.
    - `untag`: tagged points or their derivatives, without numbers.
    - `agree`: the consensus, or `None` where each point has its own, and X − c of every point.
    - `pulls`: whether the drift is −λ(X − c), which exponential steps solve exactly.
    - `own`: whether each point seeks its own best. `rounds`: evaluations of a point a step.
    """

    begin: Callable[[Any, PyTree], PyTree]
    place: Callable[[Any, PyTree], PyTree]
    put: Callable[[PyTree, PyTree], PyTree]
    asked: Callable[[Any, Any, PyTree], PyTree]
    tag: Callable[[PyTree], PyTree]
    untag: Callable[[PyTree], PyTree]
    agree: Callable[..., tuple[Any, PyTree]]
    pulls: bool = True
    own: bool = False
    rounds: int = 1


def leader(system: Any) -> Any:
    """The part of a sum that has a consensus."""
    while isinstance(system, Sum):
        system = system.first if hasattr(leader(system.first), "consensus") else system.second
    return system


def _shared(place: Callable[[Any, PyTree], PyTree]):
    """X − c of one consensus for all."""

    def agree(method, state, x, drift, t):
        head = leader(method)
        if isinstance(head, ConsensusBasedSampling):
            centre = head.moments(state)[0]
        elif not hasattr(head, "consensus"):
            centre = state.mean(floating)
        else:
            timed = len(inspect.signature(head.consensus).parameters) > 1
            centre = head.consensus(state, t) if timed else head.consensus(state)
        return centre[0], minus(place(method, x), centre[0])

    return agree


def _each(place: Callable[[PyTree], PyTree]):
    """X − c where each point has its own c, read off the pull −λ(X − c)."""

    def agree(method, state, x, drift, t):
        rate = at(leader(method).drift_rate, t)
        return None, jax.tree.map(lambda v: -v / rate, floating(place(drift)))

    return agree


def _both(method, state, x, drift, t):
    centres = method.consensus(state)
    found = centres["min"][0], centres["max"][0]
    return found, (minus(x["min"], found[0]), minus(x["max"], found[1]))


def _pairs(state: Any, x: PyTree) -> PyTree:
    """Every point against the mean of the other population."""
    low, high = state["min"].mean(floating), state["max"].mean(floating)
    size = state["min"].size()
    repeated = lambda c: jax.tree.map(lambda a: jnp.broadcast_to(a, (size, *a.shape)), c)  # noqa: E731
    return _stacked((x["min"], repeated(high)), (repeated(low), x["max"]))


def _stacked(first: PyTree, second: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


def _numbers(x: PyTree, first: int = 0) -> Array:
    size = jax.tree.leaves(x)[0].shape[0]
    return jnp.arange(first, first + size, dtype=jnp.int32)


def _still(x: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, floating(x))


def _itself(method: Any, x: PyTree) -> PyTree:
    return x


_POINTS = Role(
    begin=_itself,
    place=_itself,
    put=lambda x, place: place,
    asked=lambda method, state, x: x,
    tag=lambda x: (x, _numbers(x)),
    untag=lambda x: x[0],
    agree=_shared(_itself),
)
_SWARM = _POINTS._replace(
    begin=lambda method, place: Phase(place, _still(place)),
    place=lambda method, x: x.q,
    put=lambda x, place: x._replace(q=place),
    asked=lambda method, state, x: x.q,
    tag=lambda x: Phase((x.q, _numbers(x.q)), (x.p, None)),
    untag=lambda x: Phase(x.q[0], x.p[0]),
    agree=_shared(lambda method, x: x.q),
    pulls=False,
)
_ADAM = _POINTS._replace(
    begin=lambda method, place: AdamPoint(place, _still(place), _still(place)),
    place=lambda method, x: x.x,
    put=lambda x, place: x._replace(x=place),
    asked=lambda method, state, x: x.x,
    tag=lambda x: AdamPoint((x.x, _numbers(x.x)), (x.first, None), (x.second, None)),
    untag=lambda x: AdamPoint(x.x[0], x.first[0], x.second[0]),
    agree=_shared(lambda method, x: x.x),
    pulls=False,
)
_MEMORY = _POINTS._replace(
    begin=lambda method, place: Memory(place, place),
    place=lambda method, x: x.x,
    put=lambda x, place: x._replace(x=place),
    asked=lambda method, state, x: _stacked(x.x, x.best),
    tag=lambda x: Memory((x.x, _numbers(x.x)), (x.best, _numbers(x.x, _numbers(x.x).size))),
    untag=lambda x: Memory(x.x[0], x.best[0]),
    agree=_shared(lambda method, x: x.x),
    pulls=False,
    rounds=2,
)
_MIRROR = _POINTS._replace(
    place=lambda method, x: jax.vmap(method.mirror)(x),
    put=lambda x, place: x,
    asked=lambda method, state, x: jax.vmap(method.mirror)(x),
    # The method has been informed by then.
    agree=_shared(lambda method, x: jax.vmap(method.mirror.mirror)(x)),
    pulls=False,
)
_PARETO = Role(
    begin=lambda method, place: (place, _numbers(place) % method.preferences.shape[0]),
    place=lambda method, x: x[0],
    put=lambda x, place: (place, x[1]),
    asked=lambda method, state, x: x[0],
    tag=lambda x: ((x[0], _numbers(x[0])), x[1]),
    untag=lambda x: (x[0][0], x[1]),
    agree=_each(lambda x: x[0]),
    own=True,
)
_SADDLE = _POINTS._replace(
    begin=lambda method, place: {"min": place[0], "max": place[1]},
    place=lambda method, x: (x["min"], x["max"]),
    put=lambda x, place: {"min": place[0], "max": place[1]},
    asked=lambda method, state, x: _pairs(state, x),
    tag=lambda x: {
        "min": (x["min"], _numbers(x["min"])),
        "max": (x["max"], _numbers(x["max"], _numbers(x["min"]).size)),
    },
    untag=lambda x: {name: points[0] for name, points in x.items()},
    agree=_both,
    rounds=2,
)
_ROLES = {
    AdamConsensus: _ADAM,
    SwarmConsensus: _SWARM,
    MemoryConsensus: _MEMORY,
    MirrorConsensus: _MIRROR,
    ParetoConsensus: _PARETO,
    AdaptivePareto: _PARETO,
    SaddleConsensus: _SADDLE,
    PolarizedConsensus: _POINTS._replace(agree=_each(lambda x: x)),
}


def complete(method: Any, x: PyTree) -> bool:
    """Whether points are whole already, with velocity, memory or preferences."""
    kinds = {
        AdamConsensus: AdamPoint,
        SwarmConsensus: Phase,
        MemoryConsensus: Memory,
        AdaptivePareto: tuple,
    }
    return type(method) in kinds and isinstance(x, kinds[type(method)])


def points_are_places(method: Any) -> bool:
    """Whether a point is a place and nothing else."""
    return role_of(method).tag is _POINTS.tag and not isinstance(leader(method), MirrorConsensus)


def role_of(method: Any) -> Role:
    """The role of a system, that of points which are places by default."""
    return _ROLES.get(type(leader(method)), _POINTS)


def scalarised(method: Any, x: PyTree, values: Float[Array, "n m"]) -> Float[Array, " n"]:
    """The energy that each point seeks to lower, its preferences' largest weighed objective."""
    adapted = isinstance(method, AdaptivePareto)
    weights = jax.nn.softmax(x[1], axis=-1) if adapted else jnp.asarray(method.preferences)[x[1]]
    forbidden = jnp.any(~jnp.isfinite(values), axis=1)
    return jnp.where(forbidden, jnp.inf, jnp.max(weights * jnp.abs(values), axis=1))

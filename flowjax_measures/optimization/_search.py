"""The search itself, in two halves: `ask` says which places to evaluate, `tell` takes the values.

One state and one step serve all drivers: a compiled loop where the objective is traced, a loop in
Python where it is a black box, and the caller's own.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._custom_types import FloatScalar, PRNGKey
from ..measures._base import is_measure
from ..noise._noise import floating, standard_normal
from ..noise._normal_pairs import normals_of_step
from ..systems.consensus import ConsensusBasedSampling, PolarizedConsensus, SaddleConsensus
from ..systems.consensus._weights import at
from ._domain import Domain
from ._draws import batch_of, thrown
from ._points import (
    add,
    beside,
    flat,
    masses,
    mean_of,
    minus,
    moved,
    points_of,
    projected,
    rms,
    size_of,
)  # fmt: skip
from ._roles import Role, leader, points_are_places, role_of, scalarised
from ._state import SearchState, blank, with_
from ._told import informed

_HOPE = 10
"""Steps after which a search that has seen no finite value is given up."""


class Search(eqx.Module):
    """A consensus method with all that steers it; numbers are arrays, so that none recompiles.

    - `weighs`: the function that `tell` is given values of; systems that weigh by another one
      evaluate that themselves.
    - `batch`, `batch_moves`: how many points make a consensus, and whether "all" move by it.
    - `images`: the number of objectives, `None` for one that is a scalar.
    """

    method: Any
    weighs: Callable[..., Any]
    domain: Domain
    key: PRNGKey
    dt: Float[Array, ""]
    budget: Int[Array, ""]
    tol: Float[Array, ""]
    target: Float[Array, ""]
    patience: Int[Array, ""]
    deviation: Float[Array, ""] | None
    resampling: Float[Array, ""] | None
    jumps: tuple[Any, Any] | None
    batch: int | None = eqx.field(static=True)
    batch_moves: str = eqx.field(static=True)
    exponential: bool = eqx.field(static=True)
    observe: PyTree
    callback: Callable[[Any, Any], None] | None
    images: int | None = eqx.field(static=True)

    @property
    def role(self) -> Role:
        return role_of(self.method)

    @property
    def pair(self) -> bool:
        """Whether two populations play; what they agree on is evaluated at the end alone."""
        return isinstance(self.method, SaddleConsensus)

    @property
    def one_consensus(self) -> bool:
        """Whether all points seek the same place."""
        return not isinstance(leader(self.method), PolarizedConsensus)

    @property
    def flat_points(self) -> bool:
        """Whether the space of the points is that of the places."""
        return points_are_places(self.method)

    def radius(self, points: Any) -> Any:
        """The distance within which places are one minimum."""
        return jnp.inf if self.one_consensus else leader(self.method).width(points)

    def cost(self, size: int) -> int:
        """Evaluations of a step of `size` points."""
        corrected = getattr(leader(self.method), "correction", None) is not None
        return self.role.rounds * (self.batch or size) + corrected

    def more(self, state: SearchState) -> Bool[Array, ""]:
        """Whether the budget has room for another step."""
        return self._fits(state.nfev, state.points)

    def _fits(self, nfev: Array, points: Any) -> Bool[Array, ""]:
        return nfev + (self.cost(size_of(points)) + int(self.pair)) <= self.budget

    def begin(self, points: Any, history: int) -> SearchState:
        """The state before the first step, with room for `history` steps of what is observed."""
        x = points_of(points)
        asked = self.role.asked(self.method, points, x)
        dtype = jnp.result_type(*jax.tree.leaves(floating(x)))
        count = jax.tree.leaves(asked)[0].shape[0]
        shape = () if self.images is None else (self.images,)
        own = count if self.role.own else None
        best_x = asked if own else jax.tree.map(lambda a: a[0], asked)
        place = self.role.place(self.method, x)
        middle = mean_of(points, place)
        zero = jnp.zeros((), jnp.int32)
        worst = jnp.full(() if own is None else (own,), jnp.inf, dtype)
        watched = jax.eval_shape(self._watch, points)
        first = rms(points, minus(place, middle))
        return SearchState(
            points=points,
            values=jnp.full((count, *shape), jnp.inf, dtype),
            best_x=best_x,
            best=worst,
            best_value=jnp.full((*worst.shape, *shape), jnp.inf, dtype),
            consensus=middle,
            width=first,
            first=first,
            stale=zero,
            levels=None if self.deviation is None else jnp.zeros(2, dtype),
            status=jnp.where(self._fits(zero, points), zero, 4).astype(jnp.int32),
            nit=zero,
            nfev=zero,
            history=jax.tree.map(lambda s: blank(history, s), watched),
        )

    def ask(self, state: SearchState) -> PyTree:
        """The places to evaluate, with a leading axis."""
        asked = self.role.asked(self.method, state.points, points_of(state.points))
        if self.batch is None:
            return asked
        chosen = self._chosen(state, self.batch)
        return jax.tree.map(lambda a: a[chosen], asked)

    def tell(self, state: SearchState, values: Float[Array, "k ..."]) -> SearchState:
        """The state after a step that knows the values at the places asked for."""
        points, x, k = state.points, points_of(state.points), state.nit
        dtype = state.values.dtype
        role, method, dt = self.role, self.method, self.dt
        values = values.astype(dtype)
        if self.batch is not None:
            everywhere = jnp.full_like(state.values, jnp.inf)
            values = everywhere.at[self._chosen(state, self.batch)].set(values)
        asked = role.asked(method, points, x)
        forbidden = jnp.isnan(values)
        if self.domain.residual is not None:
            broken = self.domain.violation(asked) > jnp.finfo(dtype).eps ** 0.4
            values = jnp.where(beside(broken, values), jnp.inf, values)
        state = self._better(state, asked, jnp.where(forbidden, jnp.inf, values))
        time = dt * k.astype(dtype)
        known = informed(method, self.weighs, values, lambda f: jax.vmap(f)(asked))
        tagged = flat(moved(points, role.tag(x)))
        increment = known(time, tagged)
        drift = role.untag(points_of(increment.drift))
        centre, away = role.agree(known, tagged, x, drift, time)
        centre = state.consensus if centre is None else centre
        state = with_(state, width=rms(points, away), consensus=centre)
        push, shake = self._lengths(time, dtype)
        onto = lambda v: projected(points, x, v)  # noqa: E731
        after = add(x, jax.tree.map(lambda v: push * v, onto(drift)))
        if increment.noise is not None:
            draws = normals_of_step(self.key, k, increment.noise.brownian())
            draws = jax.tree.map(lambda z: z * shake, draws)
            after = add(after, onto(role.untag(points_of(increment.noise.apply(draws)))))
        if self.jumps is not None:
            rate, strength = (jnp.asarray(at(a, time), dtype) for a in self.jumps)
            key = jax.random.fold_in(self.key, k)
            after = add(after, onto(thrown(key, away, rate * dt, strength)))
        return self._ended(state, after)

    def _better(self, state: SearchState, asked: PyTree, values: Array) -> SearchState:
        """The best so far, of all points or of each."""
        k = state.nit
        weight = masses(state.points)
        if self.role.own:
            scores = scalarised(self.method, points_of(state.points), values)
            better = scores < state.best
            best_x = jax.tree.map(
                lambda a, b: jnp.where(beside(better, a), a, b), asked, state.best_x
            )
            best_value = jnp.where(better[:, None], values, state.best_value)
            best = jnp.where(better, scores, state.best)
        elif self.pair:
            return with_(state, values=values, stale=jnp.zeros_like(k))
        else:
            scores = values
            if weight is not None:
                # A point of mass zero changes nothing.
                alive = jnp.tile(weight > 0, values.shape[0] // weight.shape[0])
                scores = jnp.where(alive, values, jnp.inf)
            winner = jnp.argmin(scores)
            better = scores[winner] < state.best
            best_x = jax.tree.map(lambda a, b: jnp.where(better, a[winner], b), asked, state.best_x)
            best = best_value = jnp.where(better, scores[winner], state.best)
        stale = jnp.int32(jnp.where(jnp.any(better), 0, state.stale + 1))
        levels = state.levels
        if levels is not None:
            levels = _updated(levels, jnp.min(scores), k % self.patience)
        return with_(
            state, values=values, best_x=best_x, best=best, best_value=best_value, stale=stale,
            levels=levels,
        )  # fmt: skip

    def _lengths(self, time: FloatScalar, dtype: Any) -> tuple[Array, Array]:
        """What multiplies the drift and the normals of a step."""
        h = self.dt
        if not self.exponential:
            return h, h**0.5
        if isinstance(self.method, ConsensusBasedSampling):
            return -jnp.expm1(-h), jnp.sqrt(-jnp.expm1(-2 * h) / 2)
        rate = jnp.asarray(at(leader(self.method).drift_rate, time), dtype)
        safe = jnp.where(rate == 0, 1, rate)
        return jnp.where(rate == 0, h, -jnp.expm1(-safe * h) / safe), h**0.5

    def _ended(self, state: SearchState, after: PyTree) -> SearchState:
        """The state moved, or stopped where it was found."""
        role, points, k = self.role, state.points, state.nit
        agreed = (state.width <= self.tol * state.first) & (state.first > 0)
        lost, stale = state.stale >= self.patience, state.stale
        if state.levels is not None and self.deviation is not None:
            allowed = self.deviation**2 * self.patience.astype(self.deviation.dtype)
            lost = ((k + 1) % self.patience == 0) & (state.levels[1] <= allowed)
        if self.resampling is not None:
            shaken = jax.random.fold_in(jax.random.fold_in(self.key, k), 1)
            where = floating(role.place(self.method, after))
            kicks = standard_normal(shaken, jax.eval_shape(lambda: where))
            push = jnp.where(agreed | lost, self.resampling, 0)
            place = add(role.place(self.method, after), jax.tree.map(lambda z: push * z, kicks))
            after = role.put(after, place)
            stale = jnp.where(agreed | lost, 0, stale)
            agreed = lost = jnp.asarray(False)
        if self.batch is not None and self.batch_moves == "batch":
            sits = jnp.ones(size_of(points), bool).at[self._chosen(state, self.batch)].set(False)
            stay = lambda a, b: jnp.where(beside(sits, a), a, b)  # noqa: E731
            after = jax.tree.map(stay, points_of(points), after)
        after = role.put(after, self.domain.nearest(role.place(self.method, after)))
        after = moved(points, after)
        after = after.retract() if is_measure(after) else after
        values = self._watch(points)
        history = jax.tree.map(lambda h, v: h.at[k].set(v), state.history, values)
        if self.callback is not None:
            jax.debug.callback(self.callback, k, state.best)
        nfev = state.nfev + jnp.int32(self.cost(size_of(points)))
        state = with_(state, nfev=nfev, history=history)
        status = jnp.where(self.more(state), 0, 4)
        status = jnp.where(lost, 3, status)
        status = jnp.where(jnp.all(state.best <= self.target), 2, status)
        status = jnp.where(agreed, 1, status)
        leaves = jax.tree.leaves(floating(points_of(after)))
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in leaves]))
        status = jnp.where(finite, status, 5)
        known = jnp.all(jnp.isfinite(state.width))
        late = (k + 1 >= _HOPE) | ~self.more(state)
        hopeless = late & ~jnp.any(state.best < jnp.inf) & (not self.pair)
        status = jnp.where(known & ~hopeless, status, 5)
        # What has stopped stays where it was found.
        points = jax.tree.map(lambda a, b: jnp.where(status == 0, a, b), after, points)
        return with_(
            state, points=points, stale=jnp.int32(stale), status=jnp.int32(status),
            nit=k + jnp.int32(1),
        )  # fmt: skip

    def _chosen(self, state: SearchState, batch: int) -> Int[Array, " k"]:
        """Numbers of the places of this step's batch."""
        size = size_of(state.points)
        mine = batch_of(self.key, state.nit, size, batch)
        return jnp.concatenate([mine + r * size for r in range(self.role.rounds)])

    def _watch(self, points: Any) -> PyTree:
        return jax.tree.map(lambda f: f(points), self.observe, is_leaf=callable)


def _updated(levels: Array, value: Array, count: Array) -> Array:
    """Mean and sum of squared deviations of `count` values, and then of one more."""
    mean, square = jnp.where(count == 0, 0, levels)
    gap = value - mean
    mean = mean + gap / (count + 1).astype(gap.dtype)
    return jnp.stack([mean, square + gap * (value - mean)])

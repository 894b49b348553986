"""From what users give to a search and its first points."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import PRNGKey
from .._numerics._checks import check_key
from ..measures import Particles
from ..measures._base import concrete, replace
from ..noise._noise import floating
from ..spaces import Euclidean
from ..systems.consensus import MirrorConsensus, SaddleConsensus
from ._black_box import Host, replaced, traced_shape
from ._choices import chosen, constraints_of, dual
from ._domain import Domain, residual_of
from ._points import size_of, spread_of
from ._roles import complete, leader, points_are_places, role_of
from ._search import Search
from ._start import dimension_of, placed, points, walls_of
from ._told import Asked


class Options(NamedTuple):
    """The settings of a search, as `minimize` documents them."""

    bounds: Any = None
    method: Any = None
    particles: int | None = None
    spread: Any = 1.0
    dt: Any = 0.1
    budget: Any = None
    tol: Any = None
    target: Any = None
    patience: Any = None
    deviation: Any = None
    resampling: Any = None
    boundary: str = "clip"
    constraints: Any = None
    space: Any = None
    batch: int | None = None
    batch_moves: str = "all"
    exponential: bool = False
    vectorized: bool = False
    workers: Any = None
    observe: Any = None
    callback: Any = None


class Prepared(NamedTuple):
    """A search and its first points.

    `one` evaluates a place, `many` a batch; a black box has a `host` in place of `many`. `steps`
    is an upper bound of their number, where it is known.
    """

    search: Search
    points: Any
    one: Callable[..., Any]
    many: Callable[..., Any]
    host: Host | None
    steps: int


class One(eqx.Module):
    """A function of a batch, at one place."""

    objective: Callable[..., Any]

    def __call__(self, *place):
        return self.objective(*jax.tree.map(lambda a: a[None], place))[0]


class Many(eqx.Module):
    """A function of one place (or of two), at a batch."""

    objective: Callable[..., Any]
    pair: bool
    vectorized: bool

    def __call__(self, places):
        call = (lambda p: self.objective(*p)) if self.pair else self.objective
        return call(places) if self.vectorized else jax.vmap(call)(places)


def prepare(
    objective: Callable | None,
    initial: Any,
    key: PRNGKey,
    options: Options,
    grow: int = 1,
    known: Prepared | None = None,
) -> Prepared:
    """Refuses what cannot be meant, and builds the search; `grow` multiplies the points.

    `known` is another search of the same objective, which is not looked at again.
    """
    o = options
    check_key(key)
    _check(o)
    start, run = jax.random.split(key)
    walls = None if o.bounds is None else walls_of(o.bounds, initial)
    dimension = dimension_of(initial, walls)
    count = grow * (o.particles or default_particles(dimension, o))
    mu = points(initial, walls, start, count, o.spread, o.space)
    dtype = jnp.result_type(*jax.tree.leaves(floating(mu.x)))
    pair = _of_two(o.method)
    if known is None:
        one, many, host, images = _evaluations(objective, mu, o, pair, dtype)
    else:
        one, many, host, images = known.one, known.many, known.host, known.search.images
    method = o.method if one is objective else replaced(o.method, objective, one)
    method, jumps = chosen(method, one, mu, walls, o.dt, images)
    if jumps is not None:
        rate, strength = (a if callable(a) else jnp.asarray(a, dtype) for a in jumps)
        jumps = rate, strength
    first, domain = _first(mu, method, o, walls)
    size = size_of(first)
    if o.batch is not None and not 2 <= o.batch <= size:
        raise ValueError(f"`batch` is {o.batch}; give from 2 to {size} points of a step.")
    budget = default_budget(dimension) if o.budget is None else o.budget
    eps = float(jnp.finfo(dtype).eps)
    number = lambda a, default: jnp.asarray(default if a is None else a, dtype)  # noqa: E731
    most = np.iinfo(np.int32).max
    count = lambda a: jnp.asarray(min(a, most) if concrete(a) else a, jnp.int32)  # noqa: E731
    search = Search(
        method=_traced(replaced(method, one, Asked()), dtype),
        weighs=one,
        domain=domain,
        key=run,
        dt=number(o.dt, 0.1),
        budget=count(budget),
        tol=number(o.tol, max(1e-6, eps**0.5)),
        target=number(o.target, -jnp.inf),
        patience=count(most if o.patience is None else o.patience),
        deviation=None if o.deviation is None else number(o.deviation, 0),
        resampling=None if o.resampling is None else number(o.resampling, 0),
        jumps=jumps,
        batch=o.batch,
        batch_moves=o.batch_moves,
        exponential=o.exponential,
        observe={} if o.observe is None else o.observe,
        callback=o.callback,
        images=images,
    )
    if o.deviation is not None and (search.pair or search.role.own):
        raise ValueError("`deviation` is of the values of one objective; leave it out.")
    cost = search.cost(size)
    steps = int(budget) // cost if concrete(budget) else 0
    if known is None and concrete(budget) and (steps < 1 or int(budget) < cost + search.pair):
        raise ValueError(
            f"`budget` is {budget}, less than the {cost + search.pair} evaluations of one step "
            f"of {size} points."
        )
    return Prepared(search, first, one, many, host, steps)


def _evaluations(objective, mu: Particles, o: Options, pair: bool, dtype):
    """The objective of a place, of a batch, on the host, and its number of values."""
    if objective is None:
        preferences = getattr(o.method, "preferences", None)
        return _unknown, _unknown, None, None if preferences is None else preferences.shape[1]
    if not callable(objective):
        raise ValueError(f"`objective` is {objective!r}; give a function of one point.")
    several, count = _several(o.method), 1 if o.vectorized else 0
    many = Many(objective, pair, o.vectorized)
    like = jax.tree.map(lambda a: a[:1] if count else a[0], _places(mu, o))
    example = like if pair else (like,)
    shape = None if o.workers is not None else traced_shape(objective, example, not concrete(mu.x))
    if shape is None:
        images = None
        if several:
            images = np.asarray(objective(*jax.tree.map(np.array, example))).shape[-1]
        host = Host(objective, pair, o.vectorized, o.workers, images)
        one = host.traced(dtype)
        return one, Many(one, pair, False), host, images
    if shape.shape[:count] != (1,) * count or len(shape.shape) > count + several:
        raise ValueError(
            f"`objective` returned an array of shape {shape.shape}; it must return one number for "
            f'{"each" if count else "a"} point. Several values are what method="pareto" takes.'
        )
    if jnp.issubdtype(shape.dtype, jnp.complexfloating):
        raise ValueError("`objective` returned a complex number; it must return a real one.")
    images = shape.shape[-1] if len(shape.shape) > count else None
    return One(objective) if count else objective, many, None, images


def _first(mu: Particles, method: Any, o: Options, walls: Any) -> tuple[Any, Domain]:
    """The first points of the method, and where they may go."""
    if not isinstance(mu.space, Euclidean) and not points_are_places(method):
        raise ValueError(
            f"`space` is {type(mu.space).__name__}, which {type(leader(method)).__name__} does not "
            "know; take ConsensusBased, PolarizedConsensus or ConsensusBasedSampling there."
        )
    if o.exponential and not role_of(method).pulls:
        raise ValueError(
            f"`exponential` steps solve the pull −λ(X − c), and {type(method).__name__} has other "
            "forces; leave it out."
        )
    residual = residual_of(o.constraints, constraints_of(method))
    domain = Domain(walls, o.boundary, residual)
    x, role = placed(mu, mu.x).retract().x, role_of(method)
    if isinstance(method, MirrorConsensus):
        if residual is not None:
            raise ValueError("`constraints` beside a mirror map: let the map keep them.")
        x, domain = dual(walls, x) if o.method == "mirror" else x, Domain(None)
    elif not complete(method, x):
        x = role.begin(method, domain.nearest(x, 20))
    place = role.place(method, x)
    width = spread_of(mu, place)
    if concrete(width) and not float(width) > 0:
        raise ValueError(
            "`initial`: the first points all coincide, or are not finite, so that consensus says "
            "nothing; give points or `bounds` that differ, or `spread` > 0."
        )
    if isinstance(x, dict) and set(x) == {"min", "max"} and role.rounds == 2:
        return {name: replace(placed(mu, mu.x), x=x[name]) for name in ("min", "max")}, domain
    return replace(placed(mu, mu.x), x=x), domain


def _places(mu: Particles, o: Options) -> Any:
    """Places as the objective sees them."""
    if isinstance(leader(o.method), MirrorConsensus):
        return jax.vmap(leader(o.method).mirror)(mu.x)
    return role_of(o.method).place(o.method, mu.x) if complete(o.method, mu.x) else mu.x


def _traced(method: Any, dtype: Any) -> Any:
    """Numbers as arrays, so that another one compiles nothing; a zero says that noise is absent."""
    number = lambda a: type(a) in (int, float) and a != 0  # noqa: E731
    return jax.tree.map(lambda a: jnp.asarray(a, dtype) if number(a) else a, method)


def _of_two(method: Any) -> bool:
    return method == "saddle" if isinstance(method, str) else isinstance(method, SaddleConsensus)


def _several(method: Any) -> bool:
    return method == "pareto" if isinstance(method, str) else hasattr(method, "objectives")


def default_budget(dimension: int) -> int:
    return max(100_000, 10_000 * dimension)


def default_particles(dimension: int, options: Options) -> int:
    """So many that a small budget is a hundred steps, where all points seek one place."""
    most, budget = max(200, 20 * dimension), options.budget
    apart = options.method in ("polarized", "pareto", "saddle") or not concrete(budget)
    if budget is None or apart:
        return most
    return int(min(most, max(20, budget // 100)))


def _unknown(*place):
    raise ValueError(
        "`method` evaluates the objective at a point that was not asked for (a `correction`, "
        "another objective): whoever holds the loop cannot answer. Take a method without it."
    )


def _check(o: Options) -> None:
    positive = {"dt": o.dt, "resampling": o.resampling, "spread": o.spread, "patience": o.patience}
    for name, value in positive.items():
        if value is None or not concrete(value):
            continue
        real = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf"
        if not real or not (0 < float(value) < np.inf):
            raise ValueError(f"`{name}` is {value!r}; give one positive, finite number.")
    least = {"tol": o.tol, "deviation": o.deviation, "target": o.target, "budget": o.budget}
    for name, value in least.items():
        if value is None or not concrete(value):
            continue
        real = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf"
        if (
            not real
            or np.isnan(float(value))
            or (name in ("tol", "deviation") and float(value) < 0)
        ):
            raise ValueError(f"`{name}` is {value!r}; give one number.")
    if o.deviation is not None and o.patience is None:
        raise ValueError("`deviation` is that over `patience` steps; give both.")
    if o.particles is not None and not (isinstance(o.particles, int) and o.particles >= 2):
        raise ValueError(f"`particles` is {o.particles!r}; give how many points, at least 2.")
    if o.boundary not in ("clip", "reflect"):
        raise ValueError(f'`boundary` is {o.boundary!r}; it is "clip" or "reflect".')
    if o.batch_moves not in ("all", "batch"):
        raise ValueError(f'`batch_moves` is {o.batch_moves!r}; it is "all" or "batch".')
    if not all(map(callable, jax.tree.leaves(o.observe, is_leaf=callable))):
        raise ValueError(
            f"`observe` is {o.observe!r}; give functions of the measure, for example "
            "dict(mean=lambda mu: mu.mean())."
        )

r"""Tilted means that one kernel can take: those whose tilt is affine in the source.

    ℓ(x, y) = a(x) + ⟨q(x), y⟩,      −∞ where integer labels of x and y say so

That a tilt is affine is read off its derivative's trace, and masks off the places where −∞ is
written. Levels over which sources or values differ (runs, heads with values of their own) are
problems apart; over the others there are targets. What does not fit, forward mode and second
derivatives among it, takes tiles.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from . import _kernel
from ._kernel import MANY, Pairs
from ._masks import Closed, condition, opened
from ._programs import Batched, Derivative, Pair, Program, Shifted, Spec, Transposed
from ._rewrite import depends


def forward(
    arrays: Sequence[Array], pair: Pair, specs: Sequence[Spec], outs: Sequence[Spec],
    sizes: Sequence[int], precision: str | None, platform: str,
) -> list[Array] | None:  # fmt: skip
    """The means and the log-normaliser of every target; None where the kernel does not fit."""
    problem = fitting(pair, specs, sizes, precision)
    if problem is None:
        return None
    pairs, offset = problem.pairs(arrays)
    pairs = _narrowed(pairs, precision)
    mean, s = _kernel.forward(pairs, platform)
    results = [*problem.values(mean), problem.unfold(s + offset)]
    return [r.astype(out.dtype) for r, out in zip(results, outs, strict=True)]


def backward(
    arrays: Sequence[Array], program: Program, specs: Sequence[Spec], outs: Sequence[Spec],
    sizes: Sequence[int], precision: str | None, platform: str,
) -> list[Array] | None:  # fmt: skip
    """The sums of a mean's reverse pass; None where the kernel does not fit."""
    found = _reverse(program)
    if found is None:
        return None
    pair, moving, live = found
    given, own, every = list(arrays[: pair.size]), list(specs[: pair.size]), (True,) * len(sizes)
    places = [i for i, moves in enumerate(moving) if moves]
    for i, out in zip(places, outs, strict=True):
        if any(has and not kept for has, kept in zip(own[i].levels, out.levels, strict=True)):
            return None
        # Derivatives that are kept apart over a level are those of an array that has it.
        given[i] = _spread(given[i], own[i].levels, out.levels, sizes)
        own[i] = own[i]._replace(levels=out.levels)
    problem = fitting(pair, own, sizes, precision)
    if problem is None:
        return None
    cotangents = iter(zip(arrays[pair.size + 1 :], specs[pair.size + 1 :], strict=True))
    parts = [next(cotangents) if alive else None for alive in live]
    full = [None if p is None else _spread(p[0], p[1].levels, every, sizes) for p in parts]
    shift = _spread(arrays[pair.size], specs[pair.size].levels, every, sizes)

    def prepare(*inputs):
        for i, a in zip(places, inputs, strict=True):
            given[i] = a
        pairs, offset = problem.pairs(given)
        return (pairs.q, offset, pairs.k, pairs.v, pairs.log_w), pairs

    (_, offset, *_), pull, pairs = jax.vjp(prepare, *[given[i] for i in places], has_aux=True)
    s = problem.fold(shift).astype(jnp.float32) - offset
    if pairs.q.dtype == jnp.bfloat16 or precision is not None:
        # Rounded to eight bits s would be wrong by |s|/256, and so all weights.
        s = _kernel.forward(_narrowed(pairs, precision), platform)[1]
    g, h = problem.cotangents(full, pairs)
    found = _kernel.backward(_narrowed(pairs, precision), s, g, h, platform)
    like = (pairs.q, offset, pairs.k, pairs.v, pairs.log_w)
    results = pull(tuple(f.astype(a.dtype) for f, a in zip(found, like, strict=True)))
    return [r.astype(out.dtype) for r, out in zip(results, outs, strict=True)]


def _narrowed(pairs: Pairs, precision: str | None) -> Pairs:
    if precision is None:
        return pairs
    q, k, v = (a.astype(jnp.bfloat16) for a in (pairs.q, pairs.k, pairs.v))
    return pairs._replace(q=q, k=k, v=v)


def _reverse(program: Any) -> tuple[Pair, Sequence[bool], Sequence[bool]] | None:
    """The pair of a tilted mean of which this is the reverse pass, in all that moves."""
    while isinstance(program, Batched):
        program = program.program
    if not (isinstance(program, Transposed) and isinstance(program.program, Derivative)):
        return None
    inner, moving = program.program.program, program.program.moving
    while isinstance(inner, Batched):
        inner = inner.program
    if not isinstance(inner, Shifted) or not inner.pair.tilted:
        return None
    whole = [spec is not None for spec in program.linear]
    if moving[-1] or any(whole[: len(moving)]) or not all(whole[len(moving) :]):
        return None
    return inner.pair, moving, program.live


def fitting(
    pair: Pair, specs: Sequence[Spec], sizes: Sequence[int], precision: str | None
) -> "_Problem | None":
    """The problem that a kernel solves, or None."""
    points = specs[pair.constants : pair.constants + pair.points]
    floats = [i for i, s in enumerate(points) if jnp.issubdtype(s.dtype, jnp.inexact)]
    dtypes = {s.dtype for s in specs if jnp.issubdtype(s.dtype, jnp.inexact)}
    if precision == "tensorfloat32":
        return None  # Products of kernels are full, or of bfloat16.
    if len(floats) != 1 or len(points[floats[0]].shape) != 1 or not pair.tilted:
        return None
    narrow = dtypes <= {jnp.dtype(jnp.float32)} or dtypes <= {jnp.dtype(jnp.bfloat16)}
    if not narrow or points[floats[0]].shape[0] > MANY:
        return None
    try:
        return _Problem(pair, specs, sizes, floats[0])
    except Closed:
        return None


class _Problem:
    """A mean as `o` problems of `n` targets each; raises `Closed` where it is none."""

    def __init__(self, pair: Pair, specs: Sequence[Spec], sizes: Sequence[int], place: int):
        self.pair, self.sizes, self.place = pair, sizes, place
        self.count = len(pair.trace.constvars)
        self.specs = specs
        self.of_constants = specs[: self.count]
        self.of_points = specs[pair.constants : pair.constants + pair.points]
        struct = lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype)  # noqa: E731
        constants, point = map(struct, self.of_constants), map(struct, self.of_points)
        constants, point = list(constants), list(point)
        seen = self._reads(constants, point)
        sources = specs[pair.constants : pair.size]
        own = [
            any(s.levels[k] for s in sources)
            or any(s.levels[k] for s, reads in zip(self.of_constants, seen, strict=True) if reads)
            for k in range(len(sizes))
        ]
        self.outer = [k for k, yes in enumerate(own) if yes]
        self.targets = [k for k, yes in enumerate(own) if not yes]
        if not self.targets:
            raise Closed
        values, _, conditions = jax.eval_shape(self._opened, constants, point)
        self.shapes = [v.shape for v in values]
        self.widths = [math.prod(s) for s in self.shapes]
        if sum(self.widths) > MANY or (pair.masked and not conditions):
            raise Closed
        self.labels, self.may = [False] * (len(constants) + len(point)), None
        if conditions:
            every = lambda *a: self._every(a[: self.count], a[self.count :])  # noqa: E731
            self.labels, self.may = condition(every, *constants, *point)

    def _opened(self, constants, point):
        return opened(self.pair.trace, constants, point)

    def _every(self, constants, point):
        first, *more = self._opened(constants, point)[2]
        for another in more:
            first = jnp.logical_and(first, another)
        return first

    def _reads(self, constants, point):
        """Which constants values read; raises `Closed` unless the tilt is affine in the point."""
        x = point[self.place]

        def slope(constants, point, step):
            move = lambda y: self._opened(constants, self._at(point, y))[1]  # noqa: E731
            return jax.jvp(move, (point[self.place],), (step,))[1]

        def level(constants, point):
            return self._opened(constants, point)[1]

        def values(constants, point):
            return self._opened(constants, point)[0]

        none, labels = [False] * len(constants), [i != self.place for i in range(len(point))]
        every = [True] * len(point)
        bent = jax.make_jaxpr(slope)(constants, point, x).jaxpr
        told = jax.make_jaxpr(level)(constants, point).jaxpr
        if any(depends(bent, [*none, *every, False])) or any(depends(told, [*none, *labels])):
            raise Closed
        traced = jax.make_jaxpr(values)(constants, point).jaxpr
        one = lambda i: [j == i for j in range(len(constants) + len(point))]  # noqa: E731
        return [any(depends(traced, one(i))) for i in range(len(constants))]

    def _at(self, point, y):
        return [y if i == self.place else a for i, a in enumerate(point)]

    def pairs(self, arrays: Sequence[Array]) -> tuple[Pairs, Array]:
        """What the kernel takes, and a(x) of every target."""
        constants, points = arrays[: self.count], arrays[self.pair.constants : self.pair.size]
        points = list(points[: self.pair.points])
        zeros = [jnp.zeros(s.shape, s.dtype) for s in self.of_points]

        def affine(*constants):
            level = lambda y: self._opened(constants, self._at(zeros, y))[1]  # noqa: E731
            return jax.value_and_grad(level)(zeros[self.place])

        every = range(len(self.sizes))
        offset, q = self._over(every, affine, self.of_constants)(*constants)
        some = [self._first(c, s) for c, s in zip(constants, self.of_constants, strict=True)]

        def values(*inputs):
            of, points = inputs[: self.count], inputs[self.count :]
            each = jax.vmap(lambda *point: self._opened(of, point)[0])(*points)
            return jnp.concatenate([v.reshape(v.shape[0], -1) for v in each], 1)

        v = self._over(self.outer, values, [*self.of_constants, *self.of_points])(*some, *points)
        levels = [s.levels for s in self.of_points]
        k, *theirs = (
            self._source(points[i], levels[i])
            for i in (self.place, *[i for i in range(len(points)) if self.labels[self.count + i]])
        )
        own = [
            self.fold(_spread(c, s.levels, (True,) * len(self.sizes), self.sizes))
            for c, s, read in zip(constants, self.of_constants, self.labels, strict=False)
            if read
        ]
        if self.pair.weighted:
            log_w = self._source(arrays[-1], self.specs[-1].levels).astype(jnp.float32)
        else:
            log_w = jnp.zeros(k.shape[:2], jnp.float32)
        flat = v.reshape(k.shape[0], *v.shape[len(self.outer) :])
        may = None if self.may is None else lambda own, theirs: self.may(*own, *theirs)  # pyright: ignore
        pairs = Pairs(self.fold(q), k, flat.astype(k.dtype), log_w, own, theirs, may)
        return pairs, self.fold(offset).astype(jnp.float32)

    def _over(self, levels, function, specs):
        """`function` batched over some levels."""
        for k in reversed(levels):
            axes = [0 if s.levels[k] else None for s in specs]
            function = jax.vmap(function, in_axes=axes, axis_size=self.sizes[k])
        return function

    def _first(self, a, spec):
        """An array that values read, or do not, at one target."""
        for k in reversed(self.targets):
            if spec.levels[k]:
                a = jax.lax.index_in_dim(a, 0, sum(spec.levels[:k]), keepdims=False)
        return a

    def _source(self, a, levels):
        """An array of sources, of every problem."""
        wanted = tuple(k in self.outer for k in range(len(self.sizes)))
        a = _spread(a, levels, wanted, self.sizes)
        return a.reshape(-1, *a.shape[len(self.outer) :])

    def fold(self, a: Array) -> Array:
        """An array with all levels, as one with problems and targets."""
        a = jnp.moveaxis(a, self.outer, range(len(self.outer)))
        n = math.prod(self.sizes[k] for k in self.targets)
        return a.reshape(-1, n, *a.shape[len(self.sizes) :])

    def unfold(self, a: Array) -> Array:
        """The reverse of `fold`."""
        order = [*self.outer, *self.targets]
        a = a.reshape(*[self.sizes[k] for k in order], *a.shape[2:])
        return jnp.moveaxis(a, range(len(order)), order)

    def values(self, mean: Array) -> list[Array]:
        """The means of all values, with their shapes."""
        ends = [sum(self.widths[: i + 1]) for i in range(len(self.widths) - 1)]
        parts = [self.unfold(part) for part in jnp.split(mean, ends, axis=-1)]
        return [p.reshape(*self.sizes, *s) for p, s in zip(parts, self.shapes, strict=True)]

    def cotangents(self, full: Sequence[Array | None], pairs: Pairs) -> tuple[Array, Array]:
        """Those of the sums of values and of the sum of weights, as the kernel takes them."""
        *values, total = full
        o, n = pairs.q.shape[:2]
        g = [
            jnp.zeros((o, n, w), jnp.float32) if c is None else self.fold(c).reshape(o, n, w)
            for c, w in zip(values, self.widths, strict=True)
        ]
        h = jnp.zeros((o, n), jnp.float32) if total is None else self.fold(total)
        return jnp.concatenate(g, -1).astype(jnp.float32), h.astype(jnp.float32)


def _spread(a: Array, levels: Sequence[bool], wanted: Sequence[bool], sizes: Sequence[int]):
    """An array broadcast over the levels that are wanted and that it lacks."""
    for k, (has, wants) in enumerate(zip(levels, wanted, strict=True)):
        if wants and not has:
            at = sum(wanted[:k])
            a = jnp.broadcast_to(jnp.expand_dims(a, at), (*a.shape[:at], sizes[k], *a.shape[at:]))
    return a

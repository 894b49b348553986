r"""Sums over pairs of targets and sources, tile by tile.

A tile is sized to a core's cache. Rows of tiles run over the batch levels, and in each the sources
come by with what is needed kept: a running maximum and rescaled sums for a tilted mean (the online
softmax of [milakov2018]), sums alone for derivatives, whose shift is known.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._programs import Pair, Program, Spec, weighted_sum
from ._rewrite import FEW, on_cpu, rounded

# Bytes of a tile: what the second-level caches of two cores of 1 MiB hold, who share its rows.
_CPU_TILE = 2**21
# Elsewhere a tile is to fill the device, and its memory is the limit.
_TILE = 2**26
_SIDE = 1024


def tile_sizes(
    sizes: Sequence[int], specs: Sequence[Spec], sources: int, block: int | None, cpu: bool
) -> tuple[tuple[int, ...], int]:
    """How much of each level and how many sources a tile takes."""
    width = max((jnp.dtype(s.dtype).itemsize for s in specs), default=4)
    budget = (_CPU_TILE if cpu else _TILE) // width
    given = block is not None
    limit = min(budget if block is None else block, sources)
    if math.prod(sizes) * limit <= budget:
        return tuple(sizes), limit if given else _even(sources, limit)
    # Targets that share their sources make the tile; what has sources of its own goes one by one.
    own = [any(s.sources and s.levels[k] for s in specs) for k in range(len(sizes))]
    row = max(range(len(sizes)), key=lambda k: (not own[k], sizes[k]), default=None)
    tile = [1] * len(sizes)
    if row is not None:
        side = max(budget // min(limit, _SIDE), _SIDE) if not cpu or limit < _SIDE else _SIDE
        tile[row] = _even(sizes[row], min(sizes[row], side))
    for k in reversed(range(len(sizes))):
        if k != row and math.prod(tile) * sizes[k] * min(limit, _SIDE) <= budget:
            tile[k] = sizes[k]
    if not given:
        limit = _even(sources, min(sources, max(budget // math.prod(tile), 1)))
    return tuple(tile), limit


def _even(size: int, target: int) -> int:
    """A tile of at most `target` that divides the size, if one of at least half of it does."""
    least = -(-size // target)
    for count in range(least, 2 * least + 1):
        if size % count == 0 and size // count <= target:
            return size // count
    return target


def tilted(arrays, *, pair: Pair, specs, outs, sizes, sources, tiling, platform: str):
    """The tilted means and the log-normaliser of every target."""
    if tiling.kernel == "pallas":
        from . import _fused  # Pallas takes a third of a second to import.

        found = _fused.forward(arrays, pair, specs, outs, sizes, tiling.precision, platform)
        if found is not None:
            return found
    *means, normaliser = outs

    def one(arrays, carry):
        top, total, *sums = carry
        values, tilt = pair.evaluate(arrays)
        # Without the barrier tilts would be computed twice, for the maximum and for the sums.
        tilt = jax.lax.optimization_barrier(tilt)
        new_top = jnp.maximum(top, jnp.max(tilt))
        shift = jnp.where(jnp.isneginf(new_top), 0, new_top)
        p, rescale = jnp.exp(tilt - shift), jnp.exp(top - shift)
        sums = [
            s * rescale.astype(s.dtype) + weighted_sum(p, f)
            for s, f in zip(sums, values, strict=True)
        ]
        return [new_top, total * rescale + jnp.sum(p), *sums]

    def step(carry, arrays, *lengths):
        return over_levels(one, specs)(arrays, carry)

    def start(tile):
        full = lambda spec, value: jnp.full(spec.full(tile, 0).shape, value, spec.dtype)  # noqa: E731
        return [full(normaliser, -jnp.inf), full(normaliser, 0), *[full(m, 0) for m in means]]

    def finish(results):
        top, total, *sums = results
        return normalised(sums, total, top)

    kept = (normaliser, normaliser, *means)
    loop = _Loop(step, start, pair, specs, kept, sizes, sources, tiling, platform)
    return finish(loop(arrays))


def normalised(sums, total, shift) -> list[Array]:
    """The means and the log-normaliser of sums whose weights are e^{ℓ − shift}."""
    empty = total == 0
    safe = jnp.where(empty, 1, total)
    column = lambda s: safe.reshape(*safe.shape, *[1] * (s.ndim - safe.ndim)).astype(s.dtype)  # noqa: E731
    return [*[s / column(s) for s in sums], jnp.where(empty, -jnp.inf, shift + jnp.log(safe))]


def summed(
    arrays, *, program: Program, pair: Pair, specs, outs, sizes, sources, tiling, platform: str
):
    """The sums of a program over all pairs."""
    if tiling.kernel == "pallas":
        from . import _fused

        found = _fused.backward(arrays, program, specs, outs, sizes, tiling.precision, platform)
        if found is not None:
            return found

    def step(carry, arrays, tile, count):
        results = program(arrays, tile, count)
        totals = [r for r, out in zip(results, outs, strict=True) if not out.sources]
        kept = [r for r, out in zip(results, outs, strict=True) if out.sources]
        return [*[c + r for c, r in zip(carry, totals, strict=True)], *kept]

    def start(tile):
        shapes = [out.full(tile, 0) for out in outs if not out.sources]
        return [jnp.zeros(s.shape, s.dtype) for s in shapes]

    return _Loop(step, start, pair, specs, outs, sizes, sources, tiling, platform)(arrays)


def over_levels(function: Callable, specs: Sequence[Spec]) -> Callable:
    """`function(arrays, …)` of one target, over all levels, which all but the arrays have."""

    def batched(arrays, *rest):
        over = function
        for levels in zip(*[reversed(s.levels) for s in specs], strict=True):
            axes = ([0 if has else None for has in levels], *[0] * len(rest))
            over = jax.vmap(over, in_axes=axes)
        return over(arrays, *rest)

    return batched


class _Loop:
    """The loops over tiles of every level and, inside, of the sources.

    `step(carry, arrays, sizes, count)` gives the new carry, one for each output without sources,
    and then the outputs that keep theirs.
    """

    def __init__(self, step, start, pair, specs, outs, sizes, sources, tiling, platform):
        self.step, self.start, self.pair = step, start, pair
        self.specs, self.outs = specs, outs
        self.sizes, self.sources, self.precision = sizes, sources, tiling.precision
        self.cpu = platform == "cpu"
        self.tile, self.count = tile_sizes(sizes, specs, sources, tiling.block, self.cpu)

    def __call__(self, arrays):
        return self._over(0, list(arrays), ())

    def _over(self, k, arrays, done):
        """The sums over what is left: levels from `k` on, in tiles, then sources."""
        if k == len(self.sizes):
            axes = [sum(s.levels) if s.sources else None for s in self.specs]
            out_axes = [sum(o.levels) if o.sources else None for o in self.outs]
            carry, size, tile = self.start(done), self.sources, self.count
        else:
            axes, out_axes = (
                [sum(s.levels[:k]) if s.levels[k] else None for s in specs]
                for specs in (self.specs, self.outs)
            )
            shapes = [o.full((*done, *self.sizes[k:]), self.sources) for o in self.outs]
            summed = [s for s, axis in zip(shapes, out_axes, strict=True) if axis is None]
            carry = [jnp.zeros(s.shape, s.dtype) for s in summed]
            size, tile = self.sizes[k], self.tile[k]

        def body(carry, arrays, size):
            if k == len(self.sizes):
                count = len(carry)
                flat = lambda *a: self.step(list(a[:count]), list(a[count:]), done, size)  # noqa: E731
                results = self._unless_masked(flat, count, carry, arrays)
                return results[:count], results[count:]
            results = self._over(k + 1, arrays, (*done, size))
            fresh = [r for r, axis in zip(results, out_axes, strict=True) if axis is None]
            kept = [r for r, axis in zip(results, out_axes, strict=True) if axis is not None]
            return [c + f for c, f in zip(carry, fresh, strict=True)], kept

        kept_axes = [axis for axis in out_axes if axis is not None]
        carry, kept = _sweep(body, carry, arrays, axes, kept_axes, size, tile)
        carry, kept = iter(carry), iter(kept)
        return [next(carry if axis is None else kept) for axis in out_axes]

    def _unless_masked(self, step, count, carry, arrays):
        """`step`, which a tile without a pair leaves out: what is carried stays, the rest is 0."""
        step = step if self.precision is None else rounded(step, self.precision)
        fast = on_cpu(step) if self.cpu else step
        if not self.pair.masked:
            return fast(*carry, *arrays)
        tilt = over_levels(lambda a: self.pair.evaluate(a)[1], self.specs[: self.pair.size])
        live = lambda *a: [jnp.any(tilt(list(a)) != -jnp.inf)]  # noqa: E731
        (alive,) = (on_cpu(live) if self.cpu else live)(*arrays[: self.pair.size])
        kept = jax.eval_shape(step, *carry, *arrays)[count:]

        def skip(*arguments):
            return [*arguments[:count], *[jnp.zeros(s.shape, s.dtype) for s in kept]]

        return jax.lax.cond(alive, lambda *a: list(fast(*a)), skip, *carry, *arrays)


def _sweep(body, carry, arrays, axes, out_axes, size, tile):
    """`body(carry, arrays, size)`, which gives a carry and what is kept, over tiles of one axis."""
    if tile == size:
        return body(carry, arrays, size)
    whole = size // tile
    cut = [i for i, axis in enumerate(axes) if axis is not None]
    # XLA fuses slices, and strided ones too, into the loop over the pairs, which then is six times
    # slower. So coordinates come first, and a tile is sliced one step before it is used.
    flip = [arrays[i].ndim == axes[i] + 2 and arrays[i].shape[-1] <= FEW for i in cut]
    flipped = lambda tiles: [  # noqa: E731
        a.swapaxes(-1, -2) if f else a for a, f in zip(tiles, flip, strict=True)
    ]

    def split(a, axis):
        a = jax.lax.slice_in_dim(a, 0, whole * tile, axis=axis)
        a = a.reshape(*a.shape[:axis], whole, tile, *a.shape[axis + 1 :])
        return jnp.moveaxis(a, axis, 0)

    def put(tiles):
        filled = list(arrays)
        for i, a in zip(cut, tiles, strict=True):
            filled[i] = a
        return filled

    def one(state, following):
        carry, now = state
        carry, kept = body(carry, put(flipped(now)), tile)
        return (carry, following), kept

    def join(a, axis):
        a = jnp.moveaxis(a, 0, axis)
        return a.reshape(*a.shape[:axis], whole * tile, *a.shape[axis + 2 :])

    tiles = flipped([split(arrays[i], axes[i]) for i in cut])
    first = [a[0] for a in tiles]
    (carry, _), kept = jax.lax.scan(one, (carry, first), [jnp.roll(a, -1, 0) for a in tiles])
    kept = [join(a, axis) for a, axis in zip(kept, out_axes, strict=True)]
    if whole * tile < size:
        rest = [jax.lax.slice_in_dim(arrays[i], whole * tile, size, axis=axes[i]) for i in cut]
        carry, more = body(carry, put(rest), size - whole * tile)
        kept = [
            jnp.concatenate(parts, axis) for *parts, axis in zip(kept, more, out_axes, strict=True)
        ]
    return carry, kept

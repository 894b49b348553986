r"""What is summed over the sources of a tile, closed under derivatives.

A program maps arrays to arrays: those of targets have one axis for each batch level, those of
sources have the axis of sources next. Its outputs are sums over the sources of the tile, or keep
their axis. Derivatives of a program are programs: the sum over tiles goes through.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array

from ._rewrite import Distances, Trace, masks, walk


class Tiling(NamedTuple):
    """How sums over pairs are taken: the sources of a tile, None for as many as fit; by what; to
    which digits the operands of their products are rounded, None for all.
    """

    block: int | None = None
    kernel: Literal["auto", "tiled", "pallas"] = "auto"
    precision: Literal["tensorfloat32", "bfloat16"] | None = None
    sharding: NamedSharding | None = None
    """How the sources are spread over devices."""


class Spec(NamedTuple):
    """Which axes an array has: one flag for each batch level, outermost first, and sources'."""

    levels: tuple[bool, ...]
    sources: bool
    shape: tuple[int, ...]
    """The rest of the axes."""
    dtype: Any

    def full(self, sizes: Sequence[int], sources: int) -> jax.ShapeDtypeStruct:
        """The array's shape for these sizes of the levels and this number of sources."""
        levels = [size for size, has in zip(sizes, self.levels, strict=True) if has]
        column = [sources] if self.sources else []
        return jax.ShapeDtypeStruct((*levels, *column, *self.shape), self.dtype)

    def batched(self, has: bool) -> "Spec":
        """The array with one more level outside."""
        return self._replace(levels=(has, *self.levels))


Program = Callable[[Sequence[Array], tuple[int, ...], int], list]
"""Sums over the sources of one tile: `program(arrays, sizes of its levels, number of sources)`."""


class Pair:
    """The integrands at one target: values f(y), tilt ℓ(y), the logarithms of masses.

    Its arrays are constants of the trace, centres of distances, points, and log-weights.
    """

    def __init__(self, trace: Trace, constants: int, points: int, tilted: bool, weighted: bool):
        self.trace = trace
        self.constants, self.points = constants, points
        self.tilted, self.weighted = tilted, weighted
        self.masked = tilted and masks(trace)

    @property
    def size(self) -> int:
        """The number of its arrays."""
        return self.constants + self.points + self.weighted

    def evaluate(self, arrays: Sequence[Array]) -> tuple[list[Array], Array]:
        """Values (t, …) and total tilts (t,) of t sources."""
        count = len(self.trace.constvars)
        constants, centres = arrays[:count], arrays[count : self.constants]
        points = arrays[self.constants : self.constants + self.points]

        values, tilt = jax.vmap(lambda *point: self.at(constants, centres, point))(*points)
        if self.weighted:
            tilt = arrays[-1] + tilt if self.tilted else arrays[-1]
        return values, tilt

    def at(self, constants: Sequence, centres: Sequence, point: Sequence) -> tuple[list, Any]:
        """Values and tilt of one source, without its weight."""
        rule = Distances(self.trace, list(centres))
        *values, tilt = walk(self.trace, constants, point, rule)
        return values, tilt


@jax.custom_jvp
def _weight(tilt):
    return jnp.exp(tilt)


@_weight.defjvp
def _weight_jvp(primals, tangents):
    p = _weight(*primals)
    # A masked source is out of the sum whatever its derivative.
    return p, jnp.where(p > 0, p * tangents[0], 0)


def weighted_sum(p: Array, f: Array) -> Array:
    if f.ndim == 1:
        return jnp.sum(p.astype(f.dtype) * f)
    return jnp.tensordot(p.astype(f.dtype), f, axes=1)


class Shifted:
    """Σ f e^{ℓ − s} for each value and Σ e^{ℓ − s}; the last array is the shift s."""

    def __init__(self, pair: Pair):
        self.pair = pair

    def __call__(self, arrays, sizes, sources):
        values, tilt = self.pair.evaluate(arrays[:-1])
        p = _weight(tilt - arrays[-1])
        return [*[weighted_sum(p, f) for f in values], jnp.sum(p)]


class Batched:
    """A program with one more level outside, which some of its arrays have."""

    def __init__(self, program: Program, has: Sequence[bool]):
        self.program = program
        self.axes = [0 if h else None for h in has]

    def __call__(self, arrays, sizes, sources):
        inner = lambda *a: self.program(a, sizes[1:], sources)  # noqa: E731
        return jax.vmap(inner, in_axes=self.axes, axis_size=sizes[0])(*arrays)


class Derivative:
    """The tangent of a program's outputs; the tangents of `moving` arrays follow the arrays."""

    def __init__(self, program: Program, moving: Sequence[bool]):
        self.program, self.moving = program, moving

    def __call__(self, arrays, sizes, sources):
        count = len(self.moving)
        primals, tangents = arrays[:count], arrays[count:]

        def function(*moved):
            values = iter(moved)
            filled = [next(values) if m else a for m, a in zip(self.moving, primals, strict=True)]
            return self.program(filled, sizes, sources)

        moved = [a for m, a in zip(self.moving, primals, strict=True) if m]
        return jax.jvp(function, moved, list(tangents))[1]


class Transposed:
    """The transpose in arrays in which a program is linear; cotangents of `live` outputs follow."""

    def __init__(self, program: Program, linear: Sequence[Spec | None], live: Sequence[bool]):
        self.program, self.linear, self.live = program, linear, live

    def __call__(self, arrays, sizes, sources):
        given = iter(arrays)
        fixed = [next(given) if spec is None else None for spec in self.linear]

        def function(*moved):
            values = iter(moved)
            filled = [next(values) if a is None else a for a in fixed]
            outputs = self.program(filled, sizes, sources)
            return [out for out, alive in zip(outputs, self.live, strict=True) if alive]

        shapes = [spec.full(sizes, sources) for spec in self.linear if spec is not None]
        return list(jax.linear_transpose(function, *shapes)(list(given)))

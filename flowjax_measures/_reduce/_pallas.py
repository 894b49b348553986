r"""Loops over tiles of pairs in Pallas: rows stay, columns come by.

On GPUs, through Triton, a program holds one tile of rows and walks the columns in a loop. On TPUs,
through Mosaic, the columns are the last axis of the grid and what is carried stays in the memory of
the chip. Up to eight features are read coordinate by coordinate on GPUs, where no product is
wider than the data; more are padded to what the units for products of matrices take.

The tests lower both and interpret both; how fast they are on a chip has not been measured.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array

from ._rewrite import FEW


class Form(NamedTuple):
    """How a kernel is made for a platform: tiles, and the least number of features of a product."""

    rows: int
    columns: int
    features: int
    grid: bool
    """Whether columns are an axis of the grid; otherwise a program walks them."""
    interpret: bool = False

    @property
    def coordinates(self) -> bool:
        """Whether features are read one by one."""
        return self.features == 1

    def padded(self, features: int) -> int:
        """What a number of features is filled up to."""
        if self.coordinates:
            return features
        return max(self.features, pl.next_power_of_2(features))


# Powers of two, as Triton wants them, and at least 16 of what a product sums over.
_COORDINATES = Form(64, 128, 1, grid=False)
_TRITON = Form(64, 64, 16, grid=False)
# Multiples of 8 and of 128, as Mosaic wants them.
_MOSAIC = Form(256, 512, 128, grid=True)


def form(platform: str, features: int) -> Form:
    """The form for "cuda", "rocm" or "tpu"; elsewhere that for GPUs, interpreted."""
    if platform == "tpu":
        return _MOSAIC
    chosen = _COORDINATES if features <= FEW else _TRITON
    return chosen._replace(interpret=platform not in ("cuda", "rocm"))


class Operand(NamedTuple):
    """An array of a kernel: features (o, n, d); a number for each point, (o, n, 1) or (o, 1, n)."""

    array: Any
    points: int
    """The axis of the points."""
    fill: float = 0.0
    """The number of a point that is not there."""
    coordinates: bool = False

    def tiled(self, tile: int) -> Array:
        """The array, filled up to whole tiles."""
        ends = [(0, 0)] * 3
        ends[self.points] = (0, -self.array.shape[self.points] % tile)
        return jnp.pad(self.array, ends, constant_values=self.fill)

    def block(self, tile: int, place: Callable) -> Any:
        """The part of a program: the tile `place(program)` of the points, or all of them."""
        shape: list = [None, *self.array.shape[1:]]
        shape[self.points] = tile

        def index(*program):
            at = [program[0], 0, 0]
            at[self.points] = place(*program)
            return tuple(at)

        return pl.BlockSpec(tuple(shape), index)

    def read(self, ref: Any, at: Any) -> Any:
        """The numbers of some points, as an array or as the columns of its coordinates."""
        if self.coordinates:
            return tuple(ref[at, c][:, None] for c in range(self.array.shape[2]))
        return ref[at, :] if self.points == 1 else ref[:, at]


def features(a: Array, form: Form) -> Operand:
    """Features of points, (o, n, d)."""
    if not form.coordinates:
        short = form.padded(a.shape[-1]) - a.shape[-1]
        a = jnp.pad(a, ((0, 0), (0, 0), (0, short)))
    return Operand(a, 1, coordinates=form.coordinates)


def number(a: Array, row: bool, fill: float = 0.0) -> Operand:
    """A number for each point, (o, n): of rows it stands as a column."""
    return Operand(a[:, :, None], 1, fill) if row else Operand(a[:, None, :], 2, fill)


def over_tiles(
    step: Callable, start: Callable, finish: Callable, rows: Sequence[Operand],
    columns: Sequence[Operand], widths: Sequence[int], form: Form,
) -> list[Array]:  # fmt: skip
    """`finish` of what `step(rows, columns, carry)` carries over all columns, for all rows.

    `start(size)` is the carry of a tile of rows before its first step; `finish` gives a list of
    features of the rows, of these widths, where 0 stands for a number of each.
    """
    n, m = rows[0].array.shape[1], columns[0].array.shape[1]
    tiles = pl.cdiv(n, form.rows), pl.cdiv(m, form.columns)
    carried, structure = jax.tree.flatten(jax.eval_shape(lambda: start(form.rows)))
    options, scratch = _options(form, carried)

    def kernel(*refs):
        refs = iter(refs)
        of_rows, of_columns, outs, kept = (
            [next(refs) for _ in part] for part in (rows, columns, widths, scratch)
        )
        here = [a.read(ref, slice(None)) for a, ref in zip(rows, of_rows, strict=True)]

        def visit(at, carry):
            there = [a.read(ref, at) for a, ref in zip(columns, of_columns, strict=True)]
            return step(here, there, carry)

        def write(carry):
            for out, value in zip(outs, finish(carry), strict=True):
                for c, column in enumerate(value if isinstance(value, tuple) else ()):
                    out[:, c] = column[:, 0]
                if not isinstance(value, tuple):
                    out[...] = value

        if not form.grid:
            walk = lambda j, carry: visit(pl.ds(j * form.columns, form.columns), carry)  # noqa: E731
            ends = jnp.int32(0), jnp.int32(tiles[1])
            return write(jax.lax.fori_loop(*ends, walk, start(form.rows)))

        def keep(carry):
            for ref, value in zip(kept, jax.tree.leaves(carry), strict=True):
                ref[...] = value

        held = lambda: jax.tree.unflatten(structure, [ref[...] for ref in kept])  # noqa: E731
        pl.when(pl.program_id(2) == 0)(lambda: keep(start(form.rows)))
        keep(visit(slice(None), held()))
        last = pl.program_id(2) == tiles[1] - 1
        pl.when(last)(lambda: write(held()))

    of_row, of_column = (lambda *program: program[1]), (lambda *program: program[-1])
    whole = form.columns * tiles[1]
    length, place = (form.columns, of_column) if form.grid else (whole, lambda *program: 0)
    problems = rows[0].array.shape[0]
    shape = lambda w: (problems, form.rows * tiles[0], form.padded(w) if w else 1)  # noqa: E731
    outs = [jax.ShapeDtypeStruct(shape(w), jnp.float32) for w in widths]
    values = pl.pallas_call(
        kernel,
        out_shape=outs,
        grid=(problems, *tiles[: 2 if form.grid else 1]),
        in_specs=[
            *[a.block(form.rows, of_row) for a in rows],
            *[a.block(length, place) for a in columns],
        ],
        out_specs=[Operand(a, 1).block(form.rows, of_row) for a in outs],
        scratch_shapes=scratch,
        interpret=form.interpret,
        **options,
    )(*[a.tiled(form.rows) for a in rows], *[a.tiled(form.columns) for a in columns])
    return [v[:, :n, :w] if w else v[:, :n, 0] for v, w in zip(values, widths, strict=True)]


def _options(form: Form, carried: Sequence) -> tuple[dict, list]:
    """What a platform is told of the kernel, and the memory that lasts from tile to tile."""
    if form.grid:
        from jax.experimental.pallas import tpu

        order = ("parallel", "parallel", "arbitrary")
        scratch = [tpu.VMEM(c.shape, c.dtype) for c in carried]
        return {"compiler_params": tpu.CompilerParams(dimension_semantics=order)}, scratch
    if form.interpret:
        return {}, []
    from jax.experimental.pallas import triton

    return {"compiler_params": triton.CompilerParams(num_warps=4, num_stages=1)}, []

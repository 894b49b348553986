"""Tilted means and sums over pairs as primitives of JAX.

A primitive sees which of its arrays a `vmap` batches and which it does not, whatever the order of
`vmap` and derivatives: targets that share their sources make tiles with them, and no derivative
ever holds a number for each pair.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from .._custom_types import ATOMS
from .._numerics import full_precision
from ._programs import Batched, Derivative, Pair, Shifted, Spec, Tiling, Transposed
from ._ring import spread
from ._tiles import normalised, summed, tilted

# Those whose programs differ.
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

tilted_p = Primitive("tilted_mean")
summed_p = Primitive("pair_sum")


def tilted_sums(
    pair: Pair, arrays: Sequence[Array], specs: list[Spec], outs: list[Spec], sources: int,
    tiling: Tiling,
) -> list[Array]:  # fmt: skip
    """The tilted means of one target, and its log-normaliser last."""
    size = {"sizes": (), "homes": (), "sources": sources, "tiling": tiling}
    if pair.tilted:
        return tilted_p.bind(*arrays, pair=pair, specs=tuple(specs), outs=tuple(outs), **size)
    # Weights of the sources alone: no number for each pair but the values themselves.
    top = jnp.max(arrays[-1]) if pair.weighted else jnp.zeros((), outs[-1].dtype)
    shift = jax.lax.stop_gradient(jnp.where(jnp.isneginf(top), 0, top))
    *sums, total = summed_p.bind(
        *arrays, shift, program=Shifted(pair), pair=pair, specs=(*specs, outs[-1]),
        outs=tuple(outs), **size,
    )  # fmt: skip
    return normalised(sums, total, shift)


def _define(primitive: Primitive, loop: Callable) -> None:
    primitive.multiple_results = True

    def full(*arrays, homes, tiling, sizes, sources, **params):
        def local(arrays, sizes, sources):
            return loop(arrays, sizes=tuple(sizes), sources=sources, tiling=tiling, **params)

        with full_precision():
            if tiling.sharding is None:
                return local(arrays, sizes, sources)
            return spread(
                local, arrays, sharding=tiling.sharding, homes=homes, specs=params["specs"],
                outs=params["outs"], sizes=sizes, sources=sources, means=primitive is tilted_p,
            )  # fmt: skip

    @primitive.def_impl
    def implement(*arrays, **params):
        return full(*arrays, platform=_platform(), **params)

    @primitive.def_abstract_eval
    def abstract(*arrays, outs, sizes, sources, **params):
        shapes = [out.full(sizes, sources) for out in outs]
        return [ShapedArray(s.shape, s.dtype) for s in shapes]

    def lowered(platform):
        on = lambda *arrays, **params: full(*arrays, platform=platform, **params)  # noqa: E731
        return mlir.lower_fun(on, multiple_results=True)

    mlir.register_lowering(primitive, lowered("other"))
    for platform in PLATFORMS:
        mlir.register_lowering(primitive, lowered(platform), platform=platform)


def _platform() -> str:
    backend = jax.default_backend()
    return "cuda" if backend == "gpu" else backend if backend in PLATFORMS else "other"


_define(tilted_p, tilted)
_define(summed_p, summed)


def _batch(axis, arrays, dims, specs, outs, sizes, homes):
    """Arrays with the new level in front, and what changes with it."""
    has = [d is not None for d in dims]
    size = next(a.shape[d] for a, d, h in zip(arrays, dims, has, strict=True) if h)
    moved = [jnp.moveaxis(a, d, 0) if h else a for a, d, h in zip(arrays, dims, has, strict=True)]
    return (
        moved,
        has,
        {
            "specs": tuple(s.batched(h) for s, h in zip(specs, has, strict=True)),
            "outs": tuple(o.batched(True) for o in outs),
            "sizes": (size, *sizes),
            "homes": (axis.name == ATOMS, *homes),
        },
    )


def _tilted_batch(axis, arrays, dims, *, specs, outs, sizes, homes, **params):
    if all(d is None for d in dims):
        same = {"specs": specs, "outs": outs, "sizes": sizes, "homes": homes}
        return tilted_p.bind(*arrays, **params, **same), [None] * len(outs)
    moved, _, changed = _batch(axis, arrays, dims, specs, outs, sizes, homes)
    return tilted_p.bind(*moved, **params, **changed), [0] * len(outs)


def _summed_batch(axis, arrays, dims, *, program, specs, outs, sizes, homes, **params):
    if all(d is None for d in dims):
        same = {"specs": specs, "outs": outs, "sizes": sizes, "homes": homes}
        return summed_p.bind(*arrays, program=program, **params, **same), [None] * len(outs)
    moved, has, changed = _batch(axis, arrays, dims, specs, outs, sizes, homes)
    program = Batched(program, has)
    return summed_p.bind(*moved, program=program, **params, **changed), [0] * len(outs)


def _derivative(arrays, tangents, *, program, specs, outs, **params):
    """The tangents of the sums of a program: sums too."""
    moving = [
        not isinstance(t, ad.Zero) and jnp.issubdtype(s.dtype, jnp.inexact)
        for t, s in zip(tangents, specs, strict=True)
    ]
    moved = [t for t, m in zip(tangents, moving, strict=True) if m]
    more = tuple(s for s, m in zip(specs, moving, strict=True) if m)
    return summed_p.bind(
        *arrays, *moved, program=Derivative(program, moving), specs=(*specs, *more), outs=outs,
        **params,
    )  # fmt: skip


def _tilted_jvp(arrays, tangents, *, pair, specs, outs, sizes, **params):
    *means, log_normaliser = tilted_p.bind(
        *arrays, pair=pair, specs=specs, outs=outs, sizes=sizes, **params
    )
    # At the shift s = log Z: ⟨f⟩ = N/D and log Z = s + log D with D = 1.
    shift = jnp.where(jnp.isneginf(log_normaliser), 0, log_normaliser)
    program = Shifted(pair)
    for k in reversed(range(len(sizes))):
        program = Batched(program, [*[s.levels[k] for s in specs], True])
    *sums, log_dot = _derivative(
        (*arrays, shift), (*tangents, ad.Zero(jax.typeof(shift))), program=program, pair=pair,
        specs=(*specs, outs[-1]), outs=outs, sizes=sizes, **params,
    )  # fmt: skip
    column = lambda m: log_dot.reshape(*log_dot.shape, *[1] * (m.ndim - log_dot.ndim))  # noqa: E731
    moved = [s - m * column(m).astype(m.dtype) for s, m in zip(sums, means, strict=True)]
    return [*means, log_normaliser], [*moved, log_dot]


def _summed_jvp(arrays, tangents, **params):
    return summed_p.bind(*arrays, **params), _derivative(arrays, tangents, **params)


def _summed_transpose(cotangents, *arrays, program, specs, outs, **params):
    linear = [ad.is_undefined_primal(a) for a in arrays]
    live = [not isinstance(c, ad.Zero) for c in cotangents]
    given = [(a, s) for a, s, yes in zip(arrays, specs, linear, strict=True) if not yes]
    given += [(c, o) for c, o, alive in zip(cotangents, outs, live, strict=True) if alive]
    wanted = [s if yes else None for s, yes in zip(specs, linear, strict=True)]
    results = summed_p.bind(
        *[a for a, _ in given], program=Transposed(program, wanted, live),
        specs=tuple(s for _, s in given), outs=tuple(s for s in wanted if s is not None), **params,
    )  # fmt: skip
    results = iter(results)
    return [next(results) if yes else None for yes in linear]


# These see the name of the level, which tells whether it is that of a measure's atoms.
batching.fancy_primitive_batchers[tilted_p] = _tilted_batch
batching.fancy_primitive_batchers[summed_p] = _summed_batch
ad.primitive_jvps[tilted_p] = _tilted_jvp
ad.primitive_jvps[summed_p] = _summed_jvp
ad.primitive_transposes[summed_p] = _summed_transpose

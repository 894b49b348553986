r"""Tilted means by one Pallas kernel, for tilts that are affine in the source.

    Σ_j v_j w_j e^{⟨q, k_j⟩} / Σ_j w_j e^{⟨q, k_j⟩}

in few dimensions, where libraries of attention have no kernel in float32: every coordinate is a
vector of its own, and no product is wider than the data. A program holds a tile of targets and
walks the sources with a running maximum. That a tilt is affine is read off its derivative's trace.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from ._programs import Pair, Spec
from ._rewrite import FEW, depends

# Targets and sources of a tile; powers of two, as Triton wants them.
_TARGETS, _SOURCES = 64, 128


def fits(pair: Pair, specs: Sequence[Spec], sizes: Sequence[int]) -> bool:
    """Whether the kernel computes this mean: one level of targets, shared sources in R^d, d ≤ 8."""
    points = specs[pair.constants : pair.constants + pair.points]
    one = len(sizes) == 1 and len(points) == 1 and len(points[0].shape) == 1
    if not one or pair.masked or any(s.sources and s.levels[0] for s in specs):
        return False
    if points[0].shape[0] > FEW or any(s.dtype != jnp.float32 for s in specs):
        return False
    constants = [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in specs[: pair.constants]]
    point = jax.ShapeDtypeStruct(points[0].shape, jnp.float32)

    def values(constants, y):
        return _one(pair, constants, y)[0]

    def slope(constants, y):
        return jax.grad(lambda y: _one(pair, constants, y)[1])(y)

    targets = [s.levels[0] for s in specs[: pair.constants]]
    flat = all(len(s.shape) == 1 for s in jax.eval_shape(values, constants, point))
    free = depends(jax.make_jaxpr(values)(constants, point).jaxpr, [*targets, False])
    bent = depends(jax.make_jaxpr(slope)(constants, point).jaxpr, [False] * len(targets) + [True])
    return flat and not any(free) and not any(bent)


def tilted(arrays: Sequence[Array], pair: Pair, specs: Sequence[Spec], interpret: bool) -> list:
    """The means and the log-normaliser of every target."""
    constants, points = list(arrays[: pair.constants]), arrays[pair.constants]
    axes = [0 if s.levels[0] else None for s in specs[: pair.constants]]

    def slope(*constants):
        level = lambda y: _one(pair, constants, y)[1]  # noqa: E731
        return jax.value_and_grad(level)(jnp.zeros_like(points[0]))

    offset, q = jax.vmap(slope, in_axes=axes)(*constants)
    # Values do not depend on the target: those of any one.
    some = [c if axis is None else c[0] for c, axis in zip(constants, axes, strict=True)]
    values = jax.vmap(lambda y: _one(pair, some, y)[0])(points)
    log_w = arrays[-1] if pair.weighted else jnp.zeros(len(points), jnp.float32)
    sizes = [v.shape[1] for v in values]
    mean, normaliser = attention(q, points, jnp.concatenate(values, 1), log_w, interpret)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = [mean[:, a : a + size] for a, size in zip(starts, sizes, strict=True)]
    return [*parts, normaliser + offset]


def _one(pair, constants, y):
    """Values and tilt at one source, without its weight."""
    count = len(pair.trace.constvars)
    return pair.at(constants[:count], constants[count:], (y,))


def attention(
    q: Float[Array, "n d"], k: Float[Array, "m d"], v: Float[Array, "m e"],
    log_w: Float[Array, " m"], interpret: bool = False,
) -> tuple[Float[Array, "n e"], Float[Array, " n"]]:  # fmt: skip
    """The mean of v under the weights w e^{⟨q, k⟩}, and the logarithm of their sum."""
    n, width = len(q), v.shape[1]
    q = jnp.pad(q.T, ((0, 0), (0, -n % _TARGETS)))
    short = -len(k) % _SOURCES
    k, v = (jnp.pad(a.T, ((0, 0), (0, short))) for a in (k, v))
    log_w = jnp.pad(log_w[None], ((0, 0), (0, short)), constant_values=-jnp.inf)
    whole = lambda a: pl.BlockSpec(a.shape, lambda i: (0, 0))  # noqa: E731
    rows = lambda size: pl.BlockSpec((size, _TARGETS), lambda i: (0, i))  # noqa: E731
    shape = lambda size: jax.ShapeDtypeStruct((size, q.shape[1]), q.dtype)  # noqa: E731
    mean, normaliser = pl.pallas_call(
        _kernel,
        out_shape=(shape(width), shape(1)),
        grid=(q.shape[1] // _TARGETS,),
        in_specs=[rows(q.shape[0]), whole(k), whole(v), whole(log_w)],
        out_specs=(rows(width), rows(1)),
        interpret=interpret,
    )(q, k, v, log_w)
    return mean[:, :n].T, normaliser[0, :n]


def _kernel(q_ref, k_ref, v_ref, log_w_ref, mean_ref, normaliser_ref):
    q = [q_ref[c, :] for c in range(q_ref.shape[0])]
    width = v_ref.shape[0]

    def tile(j, carry):
        top, total, sums = carry
        at = pl.ds(j * _SOURCES, _SOURCES)
        tilt = log_w_ref[0, at][None, :]
        for c, column in enumerate(q):
            tilt = tilt + column[:, None] * k_ref[c, at][None, :]
        new = jnp.maximum(top, jnp.max(tilt, axis=1))
        shift = jnp.where(new == -jnp.inf, 0.0, new)
        p, rescale = jnp.exp(tilt - shift[:, None]), jnp.exp(top - shift)
        sums = tuple(
            sums[c] * rescale + jnp.sum(p * v_ref[c, at][None, :], axis=1) for c in range(width)
        )
        return new, total * rescale + jnp.sum(p, axis=1), sums

    zero = jnp.zeros_like(q[0])
    start = (zero - jnp.inf, zero, (zero,) * width)
    top, total, sums = jax.lax.fori_loop(0, k_ref.shape[1] // _SOURCES, tile, start)
    empty = total == 0
    safe = jnp.where(empty, 1.0, total)
    for c in range(width):
        mean_ref[c, :] = sums[c] / safe
    normaliser_ref[0, :] = jnp.where(empty, -jnp.inf, top + jnp.log(safe))

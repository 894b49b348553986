r"""The exponentially tilted mean, the one way in which a point sees a measure.

    ⟨f⟩_ℓ = ∫ f e^ℓ dμ / ∫ e^ℓ dμ,        log Z_ℓ = log ∫ e^ℓ dμ.

The sum runs over tiles of sources with a running maximum (the online softmax of
[milakov2018]), and the derivative rule is again a sum over tiles that recomputes what it needs:
d⟨f⟩ = ⟨ḟ⟩ + ⟨f ℓ̇⟩ − ⟨f⟩⟨ℓ̇⟩ and d log Z = ⟨ℓ̇⟩. Under `vmap` over n targets this takes O(n·tile)
memory forward, backward and in forward mode, never n².
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._custom_types import FloatScalar, Logits, PointFunction

# One tile up to here: below it the scan costs more than the tile saves.
_DENSE = 1024
# A tile of 512 sources keeps n·tile products of 8192 targets at 16 MiB in float32.
_TILE = 512


def tilted_mean(
    fn: PointFunction,
    logits: Logits | None,
    points: PyTree,
    log_weights: Float[Array, " m"] | None = None,
    *,
    block: int | None = None,
) -> tuple[PyTree, FloatScalar]:
    r"""The tilted mean ⟨fn⟩ and its log-normaliser over m weighted atoms.

    **Arguments:**

    - `fn`: function of one point, with values in any pytree of arrays.
    - `logits`: function of one point to a scalar ℓ; −∞ leaves the atom out; `None` is ℓ = 0.
    - `points`: pytree of arrays with leading axis m.
    - `log_weights`: logarithms of the atoms' masses, shape (m,); `None` is the uniform law 1/m.
    - `block`: the number of sources in a tile; `None` chooses.

    **Returns:** `(mean, log_normaliser)`. Where every atom is left out, the mean is 0 and the
    log-normaliser −∞. Both can be differentiated any number of times, in both modes, with
    respect to all that `fn` and `logits` close over, `points` and `log_weights`.
    """
    size = jax.tree.leaves(points)[0].shape[0]
    # Of the types of `points` in full: inside `shard_map` they name the mesh.
    example = jax.eval_shape(lambda: jax.tree.map(lambda a: a[0], points))
    fn = eqx.filter_closure_convert(fn, example)
    logits = None if logits is None else eqx.filter_closure_convert(logits, example)
    if block is None:
        block = size if size <= _DENSE else _TILE
    mean, log_normaliser = _stream(fn, logits, points, log_weights, block=min(block, size))
    if log_weights is None:
        log_normaliser = log_normaliser - math.log(size)
    return mean, log_normaliser


def _evaluate(fn, logits, points, log_weights):
    """Values (b, …) and total logits (b,) of one tile."""
    values = jax.tree.map(_floating, jax.vmap(fn)(points))
    dtype = jnp.result_type(*jax.tree.leaves(values))
    if logits is None:
        tilt = None
    else:
        tilt = _floating(jax.vmap(logits)(points))
        if tilt.ndim != 1:
            raise ValueError(
                f"`logits` must return a scalar for one point; it returned shape {tilt.shape[1:]}. "
                "Write it for one point; the library batches it."
            )
    if log_weights is not None:
        tilt = log_weights if tilt is None else tilt + log_weights
    if tilt is None:
        tilt = jnp.zeros(jax.tree.leaves(points)[0].shape[0], dtype)
    return values, tilt


def _floating(a):
    a = jnp.asarray(a)
    return a if jnp.issubdtype(a.dtype, jnp.inexact) else a.astype(jnp.result_type(float))


def _weighted_sum(p: Array, f: Array) -> Array:
    return jnp.tensordot(p.astype(f.dtype), f, axes=1)


def _over_tiles(tile: Callable, carry: PyTree, atoms: PyTree, block: int, remat: bool) -> PyTree:
    """Folds `tile(carry, atoms) -> carry` over blocks of the leading axis, in order."""
    size = jax.tree.leaves(atoms)[0].shape[0]
    if block >= size:
        return tile(carry, atoms)
    whole = size // block
    if remat:
        tile = jax.checkpoint(tile, prevent_cse=False)
    tiles = jax.tree.map(lambda a: a[: whole * block].reshape(whole, block, *a.shape[1:]), atoms)
    carry, _ = jax.lax.scan(lambda c, a: (tile(c, a), None), carry, tiles)
    if whole * block < size:
        carry = tile(carry, jax.tree.map(lambda a: a[whole * block :], atoms))
    return carry


@eqx.filter_custom_jvp
def _stream(fn, logits, points, log_weights, *, block):
    first = jax.tree.map(lambda a: a[:1], (points, log_weights))
    values, tilt = jax.eval_shape(lambda a: _evaluate(fn, logits, *a), first)

    def tile(carry, atoms):
        top, total, sums = carry
        values, tilt = _evaluate(fn, logits, *atoms)
        new_top = jnp.maximum(top, jnp.max(tilt))
        shift = jnp.where(jnp.isneginf(new_top), 0, new_top)
        p, rescale = jnp.exp(tilt - shift), jnp.exp(top - shift)
        sums = jax.tree.map(
            lambda s, f: s * rescale.astype(s.dtype) + _weighted_sum(p, f), sums, values
        )
        return new_top, total * rescale + jnp.sum(p), sums

    start = (
        jnp.array(-jnp.inf, tilt.dtype),
        jnp.zeros((), tilt.dtype),
        jax.tree.map(lambda f: jnp.zeros(f.shape[1:], f.dtype), values),
    )
    top, total, sums = _over_tiles(tile, start, (points, log_weights), block, remat=False)
    empty = total == 0
    safe = jnp.where(empty, 1, total)
    mean = jax.tree.map(lambda s: s / safe.astype(s.dtype), sums)
    return mean, jnp.where(empty, -jnp.inf, top + jnp.log(safe))


@_stream.def_jvp
def _stream_jvp(primals, tangents, *, block):
    fn, logits, points, log_weights = primals
    fn_dot, logits_dot, points_dot, log_weights_dot = tangents
    mean, log_normaliser = _stream(fn, logits, points, log_weights, block=block)
    shift = jnp.where(jnp.isneginf(log_normaliser), 0, log_normaliser)

    def tile(carry, atoms):
        primal, dot = atoms
        (values, tilt), (values_dot, tilt_dot) = eqx.filter_jvp(
            _evaluate, (fn, logits, *primal), (fn_dot, logits_dot, *dot)
        )
        p = jnp.exp(tilt - shift)
        # A masked atom is out of the sum whatever its derivative. No tangent is None.
        q = None if tilt_dot is None else jnp.where(p > 0, p * tilt_dot, 0)

        def accumulate(total, f, f_dot):
            moved = total if f_dot is None else total + _weighted_sum(p, f_dot)
            return moved if q is None else moved + _weighted_sum(q, f)

        sums, total = carry
        sums = jax.tree.map(accumulate, sums, values, values_dot)
        return sums, total if q is None else total + jnp.sum(q)

    start = (jax.tree.map(jnp.zeros_like, mean), jnp.zeros_like(log_normaliser))
    atoms = ((points, log_weights), (points_dot, log_weights_dot))
    sums, log_dot = _over_tiles(tile, start, atoms, block, remat=True)
    mean_dot = jax.tree.map(lambda s, m: s - m * log_dot.astype(m.dtype), sums, mean)
    return (mean, log_normaliser), (mean_dot, log_dot)


def identity(y: Any) -> Any:
    """The default of `mean`: the point itself."""
    return y

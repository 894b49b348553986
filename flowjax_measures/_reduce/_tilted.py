r"""The exponentially tilted mean, the one way in which a point sees a measure.

    ⟨f⟩_ℓ = ∫ f e^ℓ dμ / ∫ e^ℓ dμ,        log Z_ℓ = log ∫ e^ℓ dμ.

The sum runs over tiles of targets and sources that fit a core's cache, and so does its derivative,
which recomputes what it needs: d⟨f⟩ = ⟨ḟ⟩ + ⟨f ℓ̇⟩ − ⟨f⟩⟨ℓ̇⟩ and d log Z = ⟨ℓ̇⟩. Under `vmap` over
n targets this takes O(n) memory and one tile, forward, backward and in forward mode, never n².
"""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, PyTree

from .._custom_types import ATOMS, FloatScalar, Logits, PointFunction
from .._numerics import full_precision
from ._primitives import tilted_sums
from ._programs import Pair, Spec, Tiling
from ._rewrite import Distances, split, walk
from ._ring import meshless


def tilted_mean(
    fn: PointFunction,
    logits: Logits | None,
    points: PyTree,
    log_weights: Float[Array, " m"] | None = None,
    *,
    block: int | None = None,
    kernel: Literal["auto", "tiled", "pallas"] = "auto",
    precision: Literal["tensorfloat32", "bfloat16"] | None = None,
    sharding: NamedSharding | None = None,
) -> tuple[PyTree, FloatScalar]:
    r"""The tilted mean ⟨fn⟩ and its log-normaliser over m weighted atoms.

    **Arguments:**

    - `fn`: function of one point, with values in any pytree of arrays.
    - `logits`: function of one point to a scalar ℓ; −∞ leaves the atom out; `None` is ℓ = 0.
    - `points`: pytree of arrays with leading axis m.
    - `log_weights`: logarithms of the atoms' masses, shape (m,); `None` is the uniform law 1/m.
    - `block`: the number of sources in a tile; `None` chooses.
    - `kernel`: "tiled" is tiles of pairs in XLA; "pallas" one kernel where it can, for values and
      first derivatives: float32 or bfloat16, sources in at most 128 dimensions, a tilt affine in
      them, masks by integer labels. It is Triton's on a GPU, Mosaic's on a TPU, interpreted
      elsewhere. "auto" takes what has been measured to be faster: so far tiles everywhere.
    - `precision`: "tensorfloat32" or "bfloat16" rounds the operands of products to 11 or 8 bits,
      on every platform alike; sums stay as they are. `None` rounds nothing.
    - `sharding`: how the leading axis of `points` is spread over devices; `None` for not at all.

    **Returns:** `(mean, log_normaliser)`. Where every atom is left out, the mean is 0 and the
    log-normaliser −∞. Both can be differentiated any number of times, in both modes, with
    respect to all that `fn` and `logits` close over, `points` and `log_weights`.
    """
    leaves, structure = jax.tree.flatten(points)
    size = leaves[0].shape[0]
    example = [jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for a in leaves]

    def pair(*point):
        y = jax.tree.unflatten(structure, point)
        values = jax.tree.map(_floating, fn(y))
        if logits is not None:
            return values, _scalar(_floating(logits(y)))
        dtype = jnp.result_type(*jax.tree.leaves(values))
        return values, jnp.zeros((), dtype)

    with full_precision():
        closed, shapes = jax.make_jaxpr(pair, return_shape=True)(*example)
    trace, constants = split(closed)
    # What distances are taken about: the first source, wherever the formula puts it.
    search = Distances(trace)
    walk(trace, constants, [a[0] for a in leaves], search)
    constants += [jax.lax.stop_gradient(c) for c in search.found]

    values, tilt = shapes
    arrays = [*constants, *leaves]
    specs = [Spec((), False, jnp.shape(c), c.dtype) for c in constants]
    specs += [Spec((), True, a.shape[1:], a.dtype) for a in leaves]
    if log_weights is not None:
        arrays.append(log_weights)
        specs.append(Spec((), True, (), log_weights.dtype))
    parts = [] if log_weights is None else [log_weights.dtype]
    if log_weights is None or logits is not None:
        parts.append(tilt.dtype)
    total = jnp.result_type(*parts)
    outs = [Spec((), False, s.shape, s.dtype) for s in jax.tree.leaves(values)]
    outs.append(Spec((), False, (), total))
    tiling = Tiling(block, kernel, precision, sharding)
    program = Pair(trace, len(constants), len(leaves), logits is not None, log_weights is not None)
    *means, log_normaliser = tilted_sums(program, arrays, specs, outs, size, tiling)
    if log_weights is None:
        log_normaliser = log_normaliser - math.log(size)
    return jax.tree.unflatten(jax.tree.structure(values), means), log_normaliser


def spread_mean(
    fn: PointFunction, logits: Logits | None, points: PyTree, log_weights: Any,
    *, sharding: NamedSharding, **how: Any,
) -> tuple[PyTree, FloatScalar]:  # fmt: skip
    """`tilted_mean` for points that are spread over devices.

    A mean that `fn` or `logits` take themselves is taken first; within a law, where it may depend
    on the target, the sources of the outer one are gathered.
    """
    # JAX learns here which devices there are: below, sums name them when they are compiled only.
    points, log_weights = jax.lax.with_sharding_constraint((points, log_weights), sharding)
    points = meshless(points)
    example = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), points)
    both = lambda y: (fn(y), None if logits is None else logits(y))  # noqa: E731
    if not _spreads(jax.make_jaxpr(both)(example).jaxpr):
        return tilted_mean(fn, logits, points, log_weights, sharding=sharding, **how)
    try:
        jax.lax.axis_index(ATOMS)
    except NameError:
        points = jax.vmap(both, axis_name=ATOMS)(points)
        fn, logits = (lambda y: y[0]), (None if logits is None else lambda y: y[1])
        return spread_mean(fn, logits, points, log_weights, sharding=sharding, **how)
    return tilted_mean(fn, logits, points, log_weights, **how)


def _spreads(jaxpr: Any) -> bool:
    """Whether a formula takes a mean over particles that are spread."""
    for equation in jaxpr.eqns:
        tiling = equation.params.get("tiling")
        if tiling is not None and tiling.sharding is not None:
            return True
        if any(_spreads(inner) for inner in jaxprs_in_params(equation.params)):
            return True
    return False


def _scalar(tilt: Array) -> Array:
    if tilt.ndim != 0:
        raise ValueError(
            f"`logits` must return a scalar for one point; it returned shape {tilt.shape}. "
            "Write it for one point; the library batches it."
        )
    return tilt


def _floating(a):
    a = jnp.asarray(a)
    return a if jnp.issubdtype(a.dtype, jnp.inexact) else a.astype(jnp.result_type(float))


def identity(y: Any) -> Any:
    """The default of `mean`: the point itself."""
    return y

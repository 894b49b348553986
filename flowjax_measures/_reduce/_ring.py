r"""The tilted mean over particles spread over devices, of which none ever holds all.

Each device keeps its targets and its block of sources. The blocks travel once around the ring of
devices; every visit gives the mean and the log-normaliser over one block, merged by

    log Z = log Σ_k Z_k,        ⟨f⟩ = Σ_k (Z_k / Z) ⟨f⟩_k,

and differentiated by d log Z = Σ_k (Z_k/Z) d log Z_k and
d⟨f⟩ = Σ_k (Z_k/Z)(d⟨f⟩_k + ⟨f⟩_k d log Z_k) − ⟨f⟩ d log Z, one visit at a time: the reverse pass
fetches the blocks again and keeps none. A mean in which no target takes part is one partial mean a
device and one sum over devices.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr
from jax.custom_batching import custom_vmap
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from .._custom_types import ATOMS, FloatScalar, Logits, PointFunction
from . import tilted_mean

# What such a mean leaves in the trace of a function, outside of a law and within.
_OWN = ("shard_map", "custom_vmap")


def ring_mean(
    fn: PointFunction,
    logits: Logits | None,
    points: PyTree,
    log_weights: Float[Array, " m"] | None,
    *,
    sharding: NamedSharding,
    block: int | None = None,
    kernel: Literal["auto", "tiled", "pallas"] = "auto",
    precision: Literal["tensorfloat32", "bfloat16"] | None = None,
) -> tuple[PyTree, FloatScalar]:
    """`tilted_mean` for points whose leading axis is sharded.

    Within the law of one point of a measure, targets stay on their device and sources come by.
    A mean that `fn` or `logits` take themselves is taken first; within a law, where it may depend
    on the target, its sources are gathered. So are those of a mean that the law differentiates.
    """
    how: dict = {"block": block, "kernel": kernel, "precision": precision}
    points = meshless(points)
    example = jax.eval_shape(lambda: jax.tree.map(lambda a: a[0], points))
    hoisted = [_hoist(f, example) for f in (fn, logits)]
    nested = any(nested for *_, nested in hoisted)
    try:
        # Batched with the targets, whatever the integrands depend on: the rule is always asked.
        place = jax.lax.axis_index(ATOMS)
    except NameError:
        place = None
    if place is not None and (nested or any(_differentiated(c) for c, *_ in hoisted)):
        return tilted_mean(fn, logits, points, log_weights, **how)
    if nested:
        both = lambda y: (fn(y), None if logits is None else logits(y))  # noqa: E731
        points = jax.vmap(both, axis_name=ATOMS)(points)
        fn, logits = (lambda y: y[0]), (None if logits is None else lambda y: y[1])
        return ring_mean(fn, logits, points, log_weights, sharding=sharding, **how)

    constants, rebuild, _ = zip(*hoisted, strict=True)
    arrays, structure = jax.tree.flatten((constants, (points, log_weights)))

    def share(arrays):
        constants, sources = jax.tree.unflatten(structure, arrays)
        functions = (make(c) for make, c in zip(rebuild, constants, strict=True))
        return tilted_mean(*functions, *sources, **how)

    ring = _Ring(sharding, len(jax.tree.leaves(constants)), log_weights is None)
    if place is None:
        return meshless(ring.merged(share, arrays))
    whole = ring.batched(share, lambda a: _around(a, share=share, ring=ring))
    return meshless(whole(place, *arrays))


def check_axis(sharding: NamedSharding) -> str:
    """The one axis of a mesh that a sharding names; a `ValueError` if it is not one."""
    spec = sharding.spec
    if len(spec) != 1 or not isinstance(spec[0], str):
        raise ValueError(
            f"`sharding` has the specification {spec}; give one axis of the mesh, for example "
            'NamedSharding(mesh, PartitionSpec("particles")).'
        )
    return spec[0]


def check_sharding(sharding: NamedSharding, size: int) -> None:
    """Raises a `ValueError` unless `size` particles can be spread so."""
    count = sharding.mesh.shape[check_axis(sharding)]
    if size % count:
        raise ValueError(
            f"`sharding` spreads {size} particles over {count} devices, which do not divide them; "
            "take a multiple, or fill up with particles whose `log_w` is −inf."
        )


def meshless(tree: PyTree) -> PyTree:
    """The same arrays; their types forget the mesh over which they are sharded.

    A function traced on types that name the mesh cannot be run inside of `shard_map`, where the
    mesh is another. A compiled function keeps the types that it was traced with.
    """

    def forget(a):
        example = jax.ShapeDtypeStruct(a.shape, a.dtype)
        same = jax.make_jaxpr(jax.jit(lambda b: b * np.ones((), b.dtype)))(example)
        return eval_jaxpr(same.jaxpr, same.consts, a)[0]

    return jax.tree.map(forget, tree)


def _hoist(f: Callable | None, example: PyTree) -> tuple[list, Callable, bool]:
    """What `f` closes over, `f` as a function of that, and whether it takes such means itself."""
    if f is None:
        return [], lambda constants: None, False
    closed, shape = jax.make_jaxpr(f, return_shape=True)(example)
    structure = jax.tree.structure(shape)

    def rebuild(constants):
        def call(y):
            leaves = eval_jaxpr(closed.jaxpr, constants, *jax.tree.leaves(y))
            return jax.tree.unflatten(structure, leaves)

        return call

    return closed.consts, rebuild, any(name in str(closed.jaxpr) for name in _OWN)


def _differentiated(constants: list) -> bool:
    """Whether a derivative is being taken within the law, of one target, before it is batched."""
    return any(type(c).__name__ in ("JVPTracer", "LinearizeTracer") for c in constants)


class _Ring:
    """The devices over which sources are spread. Functions take the flat list of all arrays.

    The first `constants` arrays are those of the integrands, the others the sources.
    """

    def __init__(self, sharding: NamedSharding, constants: int, uniform: bool):
        self.mesh = sharding.mesh
        self.axis: Any = sharding.spec[0]
        self.count = self.mesh.shape[self.axis]
        self.constants = constants
        # Uniform atoms have the mass 1 on each device and in all.
        self.offset = math.log(self.count) if uniform else 0.0

    def mapped(self, function, arrays, batched):
        """`function` on every device, of its block of the sources and of what is batched."""
        split = [i >= self.constants or b for i, b in enumerate(batched)]
        specs = tuple(PartitionSpec(self.axis) if s else PartitionSpec() for s in split)
        local = jax.shard_map(
            lambda *a: function(list(a)), mesh=self.mesh, in_specs=specs,
            out_specs=PartitionSpec(self.axis), axis_names={self.axis}, check_vma=False,
        )  # fmt: skip
        return jax.jit(local)(*arrays)

    def merged(self, share, arrays):
        """One share a device, merged."""
        add_axis = lambda a: jax.tree.map(lambda x: x[None], share(a))  # noqa: E731
        means, parts = self.mapped(add_axis, arrays, [False] * len(arrays))
        top = _finite(jax.lax.stop_gradient(jnp.max(parts, axis=0)))
        masses = jnp.exp(parts - top)
        total = jnp.sum(masses, axis=0)
        safe = jnp.where(total == 0, 1, total)

        def merge(m):
            p = (masses / safe).reshape(*masses.shape, *[1] * (m.ndim - masses.ndim))
            return jnp.sum(p.astype(m.dtype) * m, axis=0)

        log_normaliser = jnp.where(total == 0, -jnp.inf, top + jnp.log(safe) - self.offset)
        return jax.tree.map(merge, means), log_normaliser

    def batched(self, share, whole):
        """The mean as a function of the target's place and all arrays, with its own `vmap`."""

        @custom_vmap
        def one(place, *arrays):
            return share(list(arrays))

        @one.def_vmap
        def many(size, batched, place, *arrays):
            arrays, (over_targets, *batched) = list(arrays), batched
            axes = ([0 if b else None for b in batched],)
            over = lambda function: jax.vmap(function, in_axes=axes)  # noqa: E731
            if not (over_targets or any(batched)):
                # Derivatives of a mean inside of a mean ask so.
                value = share(arrays)
                return value, jax.tree.map(lambda _: False, value)
            if not over_targets:
                # A batch inside of the law, of heads or layers: it becomes part of one target.
                value = self.batched(over(share), over(whole))(place, *arrays)
            elif any(batched[self.constants :]):
                value = over(share)(arrays)
            elif not any(batched):
                value = self.merged(share, arrays)
                return value, jax.tree.map(lambda _: False, value)
            elif size % self.count:
                value = self.merged(over(share), arrays)
            else:
                value = self.mapped(over(whole), arrays, batched)
            return value, jax.tree.map(lambda _: True, value)

        return one

    def shift(self, sources: PyTree, steps: int) -> PyTree:
        """The sources of the device `steps` further on."""
        pairs = [(i, (i - steps) % self.count) for i in range(self.count)]
        return jax.tree.map(lambda a: jax.lax.ppermute(a, self.axis, pairs), sources)

    def fetch(self, arrays: PyTree, steps: Array) -> PyTree:
        """The arrays with the sources of that device: one shift for each binary digit."""
        sources = arrays[self.constants :]
        for digit in range((self.count - 1).bit_length()):
            moved = self.shift(sources, 2**digit)
            taken = (steps >> digit) & 1 == 1
            sources = jax.tree.map(lambda a, b, taken=taken: jnp.where(taken, b, a), sources, moved)
        return [*arrays[: self.constants], *sources]


@eqx.filter_custom_jvp
def _around(arrays, *, share, ring):
    def visit(carry, _):
        (mean, top), arrays = carry
        new, part = share(arrays)
        total = jnp.logaddexp(top, part)
        a, b = jnp.exp(top - _finite(total)), jnp.exp(part - _finite(total))
        mean = jax.tree.map(lambda m, n: m * a.astype(m.dtype) + n * b.astype(n.dtype), mean, new)
        sources = ring.shift(arrays[ring.constants :], 1)
        return ((mean, total), [*arrays[: ring.constants], *sources]), None

    mean, top = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(share, arrays))
    start = ((mean, top - jnp.inf), arrays)
    ((mean, log_normaliser), _), _ = jax.lax.scan(visit, start, length=ring.count)
    return mean, log_normaliser - ring.offset


@_around.def_jvp
def _around_jvp(primals, tangents, *, share, ring):
    (arrays,), (arrays_dot,) = primals, tangents
    mean, log_normaliser = _around(arrays, share=share, ring=ring)
    shift = _finite(log_normaliser) + ring.offset

    # Only the blocks at home are kept for the reverse pass; a visitor is fetched again.
    def contribution(arrays, arrays_dot, steps):
        (new, part), (new_dot, part_dot) = eqx.filter_jvp(
            share, (ring.fetch(arrays, steps),), (ring.fetch(arrays_dot, steps),)
        )
        p = jnp.exp(part - shift)
        part_dot = jnp.zeros_like(part) if part_dot is None else part_dot

        def moved(n, n_dot):
            change = n * part_dot.astype(n.dtype)
            return p.astype(n.dtype) * (change if n_dot is None else change + n_dot)

        return jax.tree.map(moved, new, new_dot), p * part_dot

    def visit(sums, steps):
        change = eqx.filter_checkpoint(contribution, prevent_cse=False)(arrays, arrays_dot, steps)
        return jax.tree.map(jnp.add, sums, change), None

    start = jax.tree.map(jnp.zeros_like, (mean, log_normaliser))
    (sums, log_dot), _ = jax.lax.scan(visit, start, jnp.arange(ring.count))
    mean_dot = jax.tree.map(lambda s, m: s - m * log_dot.astype(m.dtype), sums, mean)
    return (mean, log_normaliser), (mean_dot, log_dot)


def _finite(a: Array) -> Array:
    return jnp.where(jnp.isneginf(a), 0, a)

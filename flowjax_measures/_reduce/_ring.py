r"""Sums over particles spread over devices, of which none ever holds all.

Each device keeps its targets and its block of sources. The blocks travel once around the ring of
devices, and every visit gives the sums over one block; means and log-normalisers are merged by

    log Z = log Σ_k Z_k,        ⟨f⟩ = Σ_k (Z_k / Z) ⟨f⟩_k.

Derivatives are sums of the same kind: they fetch the blocks again and keep none, and what belongs
to the sources travels with them until it is home. Where no target is spread there is one partial
sum a device and one sum over devices.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ._programs import Spec
from ._tiles import normalised


def check_axis(sharding: NamedSharding) -> str:
    """The one axis of a mesh that a sharding names; a `ValueError` if it is not one."""
    if not isinstance(sharding, NamedSharding):
        raise ValueError(f"`sharding` is {sharding!r}; give a jax.sharding.NamedSharding.")
    spec = sharding.spec
    if len(spec) != 1 or not isinstance(spec[0], str):
        raise ValueError(
            f"`sharding` has the specification {spec}; give one axis of the mesh, for example "
            'NamedSharding(mesh, PartitionSpec("particles")).'
        )
    return spec[0]


def check_sharding(sharding: NamedSharding, size: int) -> None:
    """Raises a `ValueError` unless `size` particles can be spread so."""
    axis = check_axis(sharding)
    count = sharding.mesh.shape[axis]
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


def spread(
    loop: Callable, arrays: Sequence[Array], *, sharding: NamedSharding, homes: Sequence[bool],
    specs: Sequence[Spec], outs: Sequence[Spec], sizes: Sequence[int], sources: int, means: bool,
) -> list[Array]:  # fmt: skip
    """`loop(arrays, sizes, sources)`, over all targets and sources, with the sources spread.

    `homes` marks the level of the atoms of a measure, whose targets are spread as well. With
    `means` the last output is the log-normaliser of the others; without it all are sums.
    """
    ring = _Ring(loop, sharding, homes, specs, outs, sizes, sources, means)
    # Partial sums come out device by device: XLA cannot add them up inside where only one of the
    # axes of a mesh is taken apart.
    parted = PartitionSpec(ring.axis)
    local = jax.shard_map(
        lambda *a: ring(list(a)), mesh=sharding.mesh, in_specs=tuple(map(ring.places, specs)),
        out_specs=[parted if ring.partial(out) else ring.places(out) for out in outs],
        axis_names={ring.axis}, check_vma=False,
    )  # fmt: skip
    return ring.merged(jax.jit(local)(*arrays))


class _Ring:
    """What one device does with its targets, its block of sources, and the blocks that come by."""

    def __init__(self, loop, sharding, homes, specs, outs, sizes, sources, means):
        self.axis: Any = sharding.spec[0]
        self.count = sharding.mesh.shape[self.axis]
        self.loop, self.specs, self.outs, self.means = loop, specs, outs, means
        whole = [k for k, size in enumerate(sizes) if homes[k] and size % self.count == 0]
        self.home = whole[0] if whole else None
        self.sizes = [s // self.count if k == self.home else s for k, s in enumerate(sizes)]
        self.block = sources // self.count

    def at_home(self, spec: Spec) -> bool:
        """Whether an array has an entry for each target that is spread."""
        return self.home is not None and spec.levels[self.home]

    def places(self, spec: Spec) -> PartitionSpec:
        """Over which of its axes an array is spread: its targets, or else its sources."""
        if self.at_home(spec):
            return PartitionSpec(*[None] * sum(spec.levels[: self.home]), self.axis)
        if spec.sources:
            return PartitionSpec(*[None] * sum(spec.levels), self.axis)
        return PartitionSpec()

    def __call__(self, arrays):
        if self.home is None:
            found = self.loop(arrays, self.sizes, self.block)
            return [
                f[None] if self.partial(o) else f for f, o in zip(found, self.outs, strict=True)
            ]
        travels = [s.sources and not self.at_home(s) for s in self.specs]
        me = jax.lax.axis_index(self.axis)

        def visit(carry, steps):
            visitors, sums, luggage = carry
            block = (me + steps) % self.count
            of = iter(visitors)
            here = [
                next(of) if goes else self.part(a, s, block) if s.sources else a
                for a, s, goes in zip(arrays, self.specs, travels, strict=True)
            ]
            found = list(zip(self.loop(here, self.sizes, self.block), self.outs, strict=True))
            kept = [f for f, o in found if self.apart(o)]
            sums = self.added(sums, [f for f, o in found if not o.sources])
            theirs = [f for f, o in found if self.visiting(o)]
            luggage = [a + b for a, b in zip(luggage, theirs, strict=True)]
            return (self.moved(visitors), sums, self.moved(luggage)), kept

        shape = lambda o: o.full(self.sizes, self.block)  # noqa: E731
        zeros = lambda chosen: [  # noqa: E731
            jnp.zeros(shape(o).shape, o.dtype) for o in self.outs if chosen(o)
        ]
        sums = zeros(lambda o: not o.sources)
        if self.means:
            sums[-1] = sums[-1] - jnp.inf
        visitors = [a for a, goes in zip(arrays, travels, strict=True) if goes]
        start = (visitors, sums, zeros(self.visiting))
        (_, sums, luggage), kept = jax.lax.scan(
            visit, start, jnp.arange(self.count, dtype=jnp.int32)
        )
        sums, luggage, kept = iter(sums), iter(luggage), iter(kept)
        results = []
        for out in self.outs:
            if self.apart(out):
                results.append(self.ordered(next(kept), out, me))
            elif out.sources:
                results.append(next(luggage))
            else:
                total = next(sums)
                results.append(total[None] if self.partial(out) else total)
        return results

    def partial(self, out: Spec) -> bool:
        """Whether an output is a sum over all, of which every device has a part."""
        return not out.sources and not self.at_home(out)

    def apart(self, out: Spec) -> bool:
        """Whether an output has a number for each pair."""
        return out.sources and self.at_home(out)

    def visiting(self, out: Spec) -> bool:
        """Whether an output belongs to the sources that come by."""
        return out.sources and not self.at_home(out)

    def part(self, a, spec, block):
        """What an array of pairs has of one block of sources."""
        return jax.lax.dynamic_slice_in_dim(a, block * self.block, self.block, sum(spec.levels))

    def ordered(self, parts, out, me):
        """The blocks of an output of pairs, in the order of the sources."""
        parts = jnp.take(parts, (jnp.arange(self.count, dtype=jnp.int32) - me) % self.count, axis=0)
        axis = sum(out.levels)
        parts = jnp.moveaxis(parts, 0, axis)
        return parts.reshape(*parts.shape[:axis], -1, *parts.shape[axis + 2 :])

    def moved(self, arrays):
        """The arrays of the device one further on."""
        pairs = [(i, (i - 1) % self.count) for i in range(self.count)]
        return [jax.lax.ppermute(a, self.axis, pairs) for a in arrays]

    def added(self, sums, found):
        """Two sums as one; of means and their log-normalisers, two means."""
        if not self.means:
            return [a + b for a, b in zip(sums, found, strict=True)]
        (*means, top), (*others, part) = sums, found
        total = jnp.logaddexp(top, part)
        p, q = jnp.exp(top - _finite(total)), jnp.exp(part - _finite(total))
        return [*[_times(p, m) + _times(q, o) for m, o in zip(means, others, strict=True)], total]

    def merged(self, found):
        """The outputs with the parts of all devices as one."""
        if not (self.means and self.home is None):
            return [
                jnp.sum(f, axis=0) if self.partial(o) else f
                for f, o in zip(found, self.outs, strict=True)
            ]
        *means, parts = found
        top = _finite(jnp.max(parts, axis=0))
        weights = jnp.exp(parts - top)
        sums = [jnp.sum(_times(weights, m), axis=0) for m in means]
        return normalised(sums, jnp.sum(weights, axis=0), top)


def _times(p: Array, mean: Array) -> Array:
    return p.reshape(*p.shape, *[1] * (mean.ndim - p.ndim)).astype(mean.dtype) * mean


def _finite(a: Array) -> Array:
    return jnp.where(jnp.isneginf(a), 0, a)

"""Brownian motion: keyed by steps where they are constant, a tree of bridges elsewhere."""

import dataclasses
import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._custom_types import FloatScalar, PRNGKey
from ..noise import apart, pairs_of_each

Shapes = PyTree[jax.ShapeDtypeStruct]
# Bridges inside a step are exact down to this part of it.
_PART = 2.0**-10
_GRAIN = 2.0**-16


def silent(shapes: Shapes | None) -> bool:
    """Whether there is no Brownian motion to draw."""
    return all(math.prod(s.shape) == 0 for s in jax.tree.leaves(shapes))


class StepKeyed(eqx.Module):
    """Standard normals keyed by the integer index of a step since time 0.

    The same key gives the same numbers in any order, in reverse, on any number of devices and
    after a restart. Normals come in pairs: steps 2k and 2k + 1 are the parts of one draw, so that
    pairs are never of two points, which may live on two devices. With Lévy areas (`levels` 2
    or 3) each step has as many further draws.
    """

    key: PRNGKey
    shapes: Shapes = eqx.field(static=True)
    levels: int = eqx.field(static=True, default=1)
    even: bool = eqx.field(static=True, default=False)
    """Whether `normals` is asked from even steps on only, which spares a pair."""

    def block(self) -> int:
        """How many steps to draw at once: enough for long vectors, few enough for the cache."""
        size = self.levels * sum(math.prod(s.shape) for s in jax.tree.leaves(self.shapes))
        return min(max(2**14 // max(size, 1) // 2 * 2, 2), 64)

    def _all(self) -> tuple[Shapes, ...]:
        return (self.shapes,) * self.levels

    def normals(self, indices: Int[Array, " steps"]) -> PyTree:
        """Standard normals of consecutive steps, stacked; one tree for each level."""
        (steps,), first = indices.shape, indices[0]
        count = (steps + 1) // 2 if self.even else steps // 2 + 1
        pairs = first // 2 + jnp.arange(count, dtype=first.dtype)
        leaves, structure = jax.tree.flatten(self._all())
        # JAX takes what doesn't depend on the step out of the loop when it differentiates, which
        # fails for the keys of many runs inside of a branch: they are made to depend on it.
        words = jax.random.key_data(self.key)
        words = words ^ (0 * first).astype(words.dtype)
        run = jax.random.wrap_key_data(words, impl=jax.random.key_impl(self.key))

        def draw(i, s):
            z = apart(lambda k: pairs_of_each(run, i, k, math.prod(s.shape), s.dtype), pairs)
            z = jnp.stack([z.real, z.imag], axis=1).reshape(-1, *s.shape)
            start = 0 if self.even else first % 2
            return jax.lax.dynamic_slice_in_dim(z, start, steps).astype(s.dtype)

        return jax.tree.unflatten(structure, [draw(i, s) for i, s in enumerate(leaves)])

    def nothing(self, indices: Array) -> PyTree:
        """Zeros in place of normals."""
        return jax.tree.map(lambda s: jnp.zeros((indices.size, *s.shape), s.dtype), self._all())

    def one(self, index: Int[Array, ""]) -> PyTree:
        """The normals of a single step."""
        stacked = dataclasses.replace(self, even=False).normals(jnp.asarray(index)[None])
        return jax.tree.map(lambda z: z[0], stacked)


def increment(normals: PyTree, h: FloatScalar, use_levy: bool = False) -> Any:
    """What happens over a step of length h, from the normals of each level.

    W(h) = √h z; the Lévy areas H and K of a step are independent of it and of each other, with
    variances h/12 and h/720 ([foster2020]).
    """
    variances = (1.0, 1 / 12, 1 / 720)
    parts = [
        jax.tree.map(lambda z, v=v: z * jnp.sqrt(v * jnp.asarray(h, z.dtype)), level)
        for v, level in zip(variances, normals, strict=False)
    ]
    if not use_levy:
        return parts[0]
    time = jax.tree.map(lambda z: jnp.asarray(h, z.dtype), parts[0])
    kinds = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)
    return kinds[len(parts) - 1](time, *parts)


class OfStep(eqx.Module):
    """The path over one constant step whose normals are drawn, asked for as a whole."""

    walk: PyTree
    h: Array

    def __call__(self, t0, t1, use_levy=False):
        return increment(self.walk, self.h, use_levy)


class OnRequest(eqx.Module):
    """The path over one constant step, drawn where it is asked for: few solvers do at a start."""

    steps: StepKeyed
    index: Array
    h: Array

    def __call__(self, t0, t1, use_levy=False):
        return increment(self.steps.one(self.index), self.h, use_levy)


class Inside(eqx.Module):
    """The path inside constant steps of length h, for solvers that ask for parts of them.

    Each step has a tree of bridges of its own, keyed by its index.
    """

    key: PRNGKey
    shapes: Shapes = eqx.field(static=True)
    levels: int = eqx.field(static=True)
    index: Array
    start: Array
    h: Array

    def __call__(self, t0, t1, use_levy=False):
        # Rounded: a path is rough, and sees the round-off of times as its root.
        part = lambda t: jnp.clip(jnp.round((t - self.start) / self.h / _GRAIN) * _GRAIN, 0, 1)  # noqa: E731
        key = jax.random.fold_in(self.key, self.index)
        tree = brownian_tree(key, self.shapes, self.levels, jnp.ones_like(self.h), _PART)
        unit = tree.evaluate(part(t0), part(t1), use_levy=use_levy)
        scale = lambda z: z * jnp.sqrt(jnp.asarray(self.h, z.dtype))  # noqa: E731
        if not use_levy:
            return jax.tree.map(scale, unit)
        time = jax.tree.map(lambda d: d * self.h, unit.dt)
        rest = {n: jax.tree.map(scale, getattr(unit, n)) for n in "WHK"[: self.levels]}
        return type(unit)(dt=time, **rest)


class ByIndex(eqx.Module):
    """Step-keyed noise read off times, for constant steps inside diffrax's loop."""

    steps: StepKeyed
    first: Array
    h: Array
    parted: bool = eqx.field(static=True)

    def __call__(self, t0, t1, use_levy=False):
        # The middle lies in the step whatever the round-off of its ends.
        local = jnp.floor((t0 + t1) / 2 / self.h).astype(jnp.int32)
        index = self.first + local
        if self.parted:
            start = local.astype(self.h.dtype) * self.h
            inside = Inside(self.steps.key, self.steps.shapes, self.steps.levels, index, start,
                            self.h)  # fmt: skip
            return inside(t0, t1, use_levy)
        return increment(self.steps.one(index), t1 - t0, use_levy)


class OfTree(eqx.Module):
    """The path of a tree of bridges, for steps of any length."""

    tree: diffrax.VirtualBrownianTree

    def __call__(self, t0, t1, use_levy=False):
        return self.tree.evaluate(t0, t1, use_levy=use_levy)


def brownian_tree(
    key: PRNGKey, shapes: Shapes, levels: int, span: Any, tol: Any
) -> diffrax.VirtualBrownianTree:
    """diffrax's tree of bridges over [0, span]."""
    areas = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)
    return diffrax.VirtualBrownianTree(
        jnp.zeros_like(span), span, tol=tol, shape=shapes, key=key, levy_area=areas[levels - 1]
    )

"""Draws that a minibatch is made of: uniform and normal numbers, and the ends of interpolants.

Words come from Threefry unrolled, as the normals of `simulate` do: `jax.random` rolls its rounds
into a loop over memory on CPUs, and a batch of 256 in the plane takes 22 µs there and 4 here.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int, UInt32

from ..._custom_types import PRNGKey
from ..._numerics import draw
from ..._numerics._cubature import factor
from ...measures import AbstractMeasure, Gaussian, Particles
from ...noise._normal_pairs import apart, normal_pairs, threefry


def normals(key: PRNGKey, like: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Independent standard normals of the shape of `like`."""
    half = (like.size + 1) // 2
    z = _apart(lambda: normal_pairs(key, half, like.dtype), key)
    flat = jnp.stack([z.real, z.imag], 1).reshape(-1)[: like.size]
    return flat.reshape(like.shape).astype(like.dtype)


def uniforms(key: PRNGKey, n: int, dtype: DTypeLike) -> Float[Array, " n"]:
    """Independent uniform numbers of [0, 1)."""
    if dtype != jnp.float32:
        return jax.random.uniform(key, (n,), dtype)
    one = jnp.asarray(1, dtype).view(jnp.uint32)
    return jax.lax.bitcast_convert_type(_words(key, n) >> 9 | one, dtype) - 1


def positions(key: PRNGKey, n: int, size: int) -> Int[Array, " n"]:
    """Independent uniform numbers of 0, …, size − 1.

    They are ⌊size · word/2³²⌋, whose probabilities are 1/size to a share of size/2³².
    """
    if size > 2**16:
        return jax.random.randint(key, (n,), 0, size)
    words = _words(key, n)
    low = (words & 0xFFFF) * size >> 16
    return ((words >> 16) * size + low >> 16).astype(jnp.int32)


def chosen(measure: Particles, key: PRNGKey, n: int) -> Int[Array, " n"]:
    """The positions of `n` draws from atoms, past the last where masses are no numbers."""
    if measure.log_w is None:
        return positions(key, n, measure.size())
    masses = jnp.exp(measure.log_w - jnp.max(measure.log_w))
    known = jnp.isfinite(jnp.sum(masses))
    return jnp.where(known, draw(key, masses, n), measure.size())


def at(atoms: Any, index: Int[Array, " n"]) -> Any:
    """The atoms at these positions, NaN past the last."""
    return jax.tree.map(lambda a: a.at[index].get(mode="fill"), atoms)


def within(atoms: Any, index: Int[Array, " n"], key: PRNGKey) -> Array:
    """The atoms at these positions, or draws from the parts (m, Σ) of a mixture there."""
    if not isinstance(atoms, tuple):
        return at(atoms, index)
    means, covs = atoms
    # The fewer factors: those of all parts, or of the parts that were drawn.
    few = len(means) <= len(index)
    roots = at(jax.vmap(factor)(covs), index) if few else jax.vmap(factor)(at(covs, index))
    mean = at(means, index)
    return mean + jnp.einsum("nij,nj->ni", roots, normals(key, mean))


def points(measure: AbstractMeasure, key: PRNGKey, n: int) -> Array:
    """`n` draws from a measure; of a mixture, `Particles((m, Σ))`, from its parts."""
    pick, inside = jax.random.split(key)
    if isinstance(measure, Particles):
        return within(measure.x, chosen(measure, pick, n), inside)
    if not isinstance(measure, Gaussian):
        return measure.sample(pick, n)
    z = normals(inside, jnp.zeros((n, measure.m.size), measure.m.dtype))
    return measure.m + z @ factor(measure.cov).T


def told(c: Array, d: Array, scale: Array) -> tuple[Array, Array]:
    """Conditions as coordinates, whose squared distances are those of conditions."""
    if not jnp.issubdtype(c.dtype, jnp.integer):
        here, there = (scale * a.reshape(len(a), -1).astype(scale.dtype) for a in (c, d))
        return here, there
    both = jnp.concatenate([c, d])
    # A label is the axis of the place where it is seen first.
    axes = jax.nn.one_hot(jnp.argmax(both[:, None] == both, axis=1), len(both), dtype=scale.dtype)
    axes = scale * axes / jnp.sqrt(jnp.asarray(2, scale.dtype))
    return axes[: len(c)], axes[len(c) :]


def _words(key: PRNGKey, n: int) -> UInt32[Array, " n"]:
    words = jax.random.key_data(key)
    if words.shape != (2,):  # Keys of other generators.
        return jax.random.bits(key, (n,), jnp.uint32)

    def drawn():
        count = jax.lax.iota(jnp.uint32, (n + 1) // 2)
        # Normals of the same key are counted from 0 and 1 in the high word.
        return jnp.concatenate(threefry(tuple(words), (jnp.full_like(count, 2), count)))[:n]

    return _apart(drawn, key)


def _apart(draw: Callable[[], Array], key: PRNGKey) -> Array:
    """A draw by a key as a program of its own; that it goes ahead is known by the key alone."""
    ahead = (jax.random.key_data(key).ravel()[:1] >> 1).astype(jnp.int32)
    return apart(lambda _: draw()[None], ahead)[0]

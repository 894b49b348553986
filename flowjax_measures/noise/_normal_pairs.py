r"""Standard normals two at a time, from counters, for the price of a few multiplications.

    (z, z′) = √(−2 log u) (cos 2πv, sin 2πv)          [box1958]

u and v are the two words of Threefry-2x32 with 20 rounds ([salmon2011]), the generator of
`jax.random`, at the count i. `jax.random.normal` makes one number of both words, by erf⁻¹ (with
logarithms in two branches), and on CPUs it rolls the rounds into a loop over memory: 5 ns a number
where this takes 2.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import add, bitwise_or, bitwise_xor as xor, mul, shift_left, shift_right_logical
from jaxtyping import Array, Complex, DTypeLike, Int, PyTree

from .._custom_types import PRNGKey

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: tuple[Array, Array], count: tuple[Array, Array]) -> tuple[Array, Array]:
    """The two words of Threefry-2x32 of `count`, elementwise; all are uint32."""
    # Operations of lax: those of jnp, a hundred and more, take three times as long to trace.
    keys = (*key, xor(xor(*key), np.uint32(0x1BD11BDA)))
    a, b = add(count[0], keys[0]), add(count[1], keys[1])
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            a = add(a, b)
            turned = shift_left(b, np.uint32(r)), shift_right_logical(b, np.uint32(32 - r))
            b = xor(bitwise_or(*turned), a)
        a = add(a, keys[(group + 1) % 3])
        b = add(add(b, keys[(group + 2) % 3]), np.uint32(group + 1))
    return a, b


def folded(key: PRNGKey, *numbers: Any) -> PRNGKey:
    """`key` folded with each number in turn: the bits of `jax.random.fold_in`.

    Its rounds stand in a line, where on CPUs those of `jax.random` are a loop that takes three
    times as long to compile.
    """
    words = _words(key)
    if words.shape != (2,):  # Keys of other generators.
        for number in numbers:
            key = jax.random.fold_in(key, number)
        return key
    for number in numbers:
        count = jnp.asarray(number).astype(jnp.uint32)
        words = jnp.stack(threefry((words[0], words[1]), (jnp.zeros_like(count), count)))
    return words


def _words(key: PRNGKey) -> Array:
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key


# Traced once for a program that draws at several places.
@partial(jax.jit, static_argnums=(1, 2))
def normal_pairs(key: PRNGKey, size: int, dtype: DTypeLike) -> Complex[Array, " size"]:
    """`size` independent pairs of standard normals: real and imaginary parts of a dtype."""
    words = _words(key)
    if words.shape != (2,):  # Keys of other generators.
        words = jax.random.bits(key, (2,), jnp.uint32)
    return _pairs(words[0], words[1], size, dtype)


def pairs_of_each(
    key: PRNGKey, number: Any, indices: Int[Array, " k"], size: int, dtype: DTypeLike
) -> Complex[Array, "k size"]:
    """`normal_pairs(folded(key, number, index), size, dtype)` for every index."""
    key = folded(key, number)
    words = _words(key)
    if words.shape != (2,):  # Keys of other generators.
        return jax.vmap(lambda index: normal_pairs(folded(key, index), size, dtype))(indices)
    count = indices.astype(jnp.uint32)
    first, second = threefry((words[0], words[1]), (jnp.zeros_like(count), count))
    return _pairs(first[:, None], second[:, None], size, dtype)


def _pairs(first: Array, second: Array, size: int, dtype: DTypeLike) -> Array:
    """The pairs of the keys with these words, which have an axis of length one for them or none."""
    shape = (*first.shape[:-1], size)
    key = jnp.broadcast_to(first, shape), jnp.broadcast_to(second, shape)
    count = jax.lax.broadcasted_iota(jnp.uint32, shape, len(shape) - 1)
    # Counts below 2³² in their low word, so the high one may tell uses apart.
    a, b = threefry(key, (jnp.zeros_like(count), count))
    if dtype == jnp.float64:
        c, d = threefry(key, (jnp.ones_like(count), count))
        a, b = _wide(a, c), _wide(b, d)
    else:
        dtype = jnp.float32
    quarter = _unit(b << 2, dtype) - 1.5
    # The middles of the intervals, so that no logarithm is that of 0.
    u = (2 - _unit(a, dtype)) - np.asarray(jnp.finfo(dtype).eps / 2, dtype)
    radius = jnp.sqrt(-2 * jnp.log(u))
    sine, cosine = _sine_cosine(quarter * np.asarray(np.pi / 2, dtype))
    # Two bits of the angle make the quarter of the circle around +x the whole of it.
    top = jnp.iinfo(b.dtype).bits - 1
    cosine = jnp.where(b >> top == 1, -cosine, cosine)
    swap = (b >> (top - 1)) & 1 == 1
    return jax.lax.complex(
        radius * jnp.where(swap, sine, cosine), radius * jnp.where(swap, cosine, sine)
    )


def _wide(high: Array, low: Array) -> Array:
    return high.astype(jnp.uint64) << 32 | low.astype(jnp.uint64)


def _unit(word: Array, dtype: DTypeLike) -> Array:
    """The leading bits of a word as the fraction of a number in [1, 2)."""
    info = jnp.finfo(dtype)
    one = np.asarray(1, dtype).view(word.dtype)
    return jax.lax.bitcast_convert_type(word >> (info.bits - info.nmant) | one, dtype)


def _sine_cosine(y: Array) -> tuple[Array, Array]:
    """Of |y| ≤ π/4, to round-off, by Taylor's series."""
    number = y.dtype.type
    square, sine, cosine = mul(y, y), number(0), number(0)
    for k in reversed(range(5 if y.dtype == jnp.float32 else 9)):
        sine = add(mul(square, sine), number((-1) ** k / math.factorial(2 * k + 1)))
        cosine = add(mul(square, cosine), number((-1) ** k / math.factorial(2 * k)))
    return mul(y, sine), cosine


def apart(draw: Callable[[Array], Array], indices: Array) -> Array:
    """draw(indices) as a program of its own.

    XLA for CPUs would make the numbers again in every loop that reads them; it does not look past
    a branch whose condition it can't know. On accelerators a branch waits for the host.
    """
    draw = jax.jit(draw)  # Traced once.

    def branch(indices):
        like = jax.eval_shape(draw, indices)
        known = indices[0] > jnp.iinfo(indices.dtype).min
        return jax.lax.cond(known, draw, lambda _: jnp.zeros(like.shape, like.dtype), indices)

    return jax.lax.platform_dependent(indices, cpu=branch, default=draw)


def normals_of_step(
    key: PRNGKey, step: Int[Array, ""], shapes: PyTree[jax.ShapeDtypeStruct]
) -> PyTree[Array]:
    """Independent standard normals of the given shapes, in pairs of coordinates of one point."""
    leaves, structure = jax.tree.flatten(shapes)

    def draw(leaf, s):
        *points, d = s.shape or (1,)
        half = (d + 1) // 2

        size = math.prod(points) * half
        z = apart(lambda steps: pairs_of_each(key, leaf, steps, size, s.dtype), step[None])
        z = z[0].reshape(*points, half)
        both = jnp.concatenate([z.real, z.imag], axis=-1)[..., :d]
        return both.reshape(s.shape).astype(s.dtype)

    return jax.tree.unflatten(structure, [draw(i, s) for i, s in enumerate(leaves)])

"""Convolutions of pictures whose channels come last, and a block of two, for networks of fields."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from ..._custom_types import PRNGKey


class PictureBlock(eqx.Module):
    """W x + conv act(s ⊙ conv act x + m), channels made alike and then moved.

    (s − 1, m) is an affine function of the embedding of a time and a condition.
    """

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    past: eqx.nn.Conv2d
    affine: eqx.nn.Linear

    def __init__(self, channels: int, out: int, size: int, key: PRNGKey, dtype: DTypeLike | None):
        a, b, c, d = jax.random.split(key, 4)
        self.first = eqx.nn.Conv2d(channels, out, 3, padding=1, dtype=dtype, key=a)
        self.second = eqx.nn.Conv2d(out, out, 3, padding=1, dtype=dtype, key=b)
        self.past = eqx.nn.Conv2d(channels, out, 1, dtype=dtype, key=c)
        self.affine = eqx.nn.Linear(size, 2 * out, dtype=dtype, key=d)

    def __call__(
        self, x: Float[Array, "height width channels"], embedding: Float[Array, " size"]
    ) -> Float[Array, "height width out"]:
        y = convolved(self.first, jax.nn.silu(_normalised(x)))
        scale, shift = jnp.split(self.affine(embedding), 2)
        y = jax.nn.silu((1 + scale) * _normalised(y) + shift)
        return convolved(self.past, x) + convolved(self.second, y)


def convolved(
    layer: eqx.nn.Conv2d, x: Float[Array, "height width channels"]
) -> Float[Array, "height width out"]:
    """The layer at a picture, as one product with its patches.

    XLA's own convolutions, inside of a loop such as that of `learn`, take CPUs ten times as long.
    """
    (height, width), (side, _) = x.shape[:2], layer.kernel_size
    padded = jnp.pad(x, [(side // 2, side // 2)] * 2 + [(0, 0)])
    places = itertools.product(range(side), repeat=2)
    patches = jnp.concatenate([padded[i : i + height, j : j + width] for i, j in places], axis=-1)
    bias: Any = layer.bias
    weight = jnp.transpose(layer.weight, (2, 3, 1, 0)).reshape(-1, layer.out_channels)
    return patches @ weight + bias[:, 0, 0]


def _normalised(x: Array) -> Array:
    """Of mean 0 and variance 1 over all channels and pixels."""
    x = x - jnp.mean(x)
    return x * jax.lax.rsqrt(jnp.mean(x**2) + 1e-5)

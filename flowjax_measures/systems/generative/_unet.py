r"""A network of fields of pictures: convolutions down to coarse grids and back ([ronneberger2015]).

    x_{l+1} = P B_l(x_l),   y_l = B'_l(x_l, U y_{l+1}),   B(x) = W x + conv act(s ⊙ conv act x + m)

P halves a picture by means, U doubles it; (s − 1, m) is an affine function of an embedding of the
time and the condition, in each block.
"""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from ..._custom_types import FloatScalar, PRNGKey
from ._conditioning import Conditioning
from ._picture_block import PictureBlock, convolved


class UNet(eqx.Module):
    """A small U-Net with features of time: a velocity, a score or a denoiser of pictures.

    A point is a picture as one row of numbers, which is how `Particles` and the losses have it, or
    of the shape `shape`; values have the shape of the point.

    **Arguments:**

    - `shape`: of a picture, (height, width) or (channels, height, width).
    - `width`: channels at the full size, twice as many at each smaller one.
    - `levels`: how often the picture is halved; its sides are multiples of 2^`levels`.
    - `time`, `labels`, `condition`, `dtype`: as of `MLP`.

    **Raises:** `ValueError` for points of another size, and as `MLP` for unknown labels.

    !!! example

        `UNet((8, 8), width=8, key=jax.random.key(0))(0.3, jnp.zeros(64)).shape`
    """

    given: Conditioning
    embed: eqx.nn.MLP
    start: eqx.nn.Conv2d
    down: list[PictureBlock]
    middle: PictureBlock
    up: list[PictureBlock]
    end: eqx.nn.Conv2d
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self, shape: tuple[int, ...], *, key: PRNGKey, width: int = 32, levels: int = 2,
        time: int = 4, labels: int = 0, condition: int = 0, dtype: DTypeLike | None = None,
    ):  # fmt: skip
        if len(shape) not in (2, 3) or any(side % 2**levels for side in shape[-2:]):
            raise ValueError(
                f"`shape` is {shape}; give (height, width) or (channels, height, width) with sides "
                f"that are multiples of {2**levels}, or fewer `levels`."
            )
        keys = iter(jax.random.split(key, 2 * levels + 5))
        self.shape, channels, size = tuple(shape), shape[0] if len(shape) == 3 else 1, 4 * width
        self.given = Conditioning(time, labels, condition, 16, next(keys), dtype)
        self.embed = eqx.nn.MLP(
            self.given.size, size, size, 1, jax.nn.silu, jax.nn.silu, dtype=dtype, key=next(keys)
        )
        wide = [width * 2**level for level in range(levels + 1)]
        sizes = list(itertools.pairwise(wide))
        self.start = eqx.nn.Conv2d(channels, width, 3, padding=1, dtype=dtype, key=next(keys))
        self.down = [PictureBlock(a, b, size, next(keys), dtype) for a, b in sizes]
        self.middle = PictureBlock(wide[-1], wide[-1], size, next(keys), dtype)
        # A block on the way up sees what the one on the way down gave.
        self.up = [PictureBlock(2 * b, a, size, next(keys), dtype) for a, b in reversed(sizes)]
        self.end = eqx.nn.Conv2d(width, channels, 3, padding=1, dtype=dtype, key=next(keys))

    def __call__(self, t: FloatScalar, x: Float[Array, "*pixels"], c: Any = None) -> Array:
        size = self.start.in_channels * self.shape[-2] * self.shape[-1]
        if x.shape not in ((size,), self.shape):
            raise ValueError(f"`x` has shape {x.shape}; this UNet takes ({size},) or {self.shape}.")
        embedding = self.embed(self.given(t, c, x.dtype))
        picture = jnp.moveaxis(x.reshape(-1, *self.shape[-2:]), 0, -1)
        y, seen = convolved(self.start, picture), []
        for block in self.down:
            y = block(y, embedding)
            seen.append(y)
            y = y.reshape(y.shape[0] // 2, 2, y.shape[1] // 2, 2, -1).mean((1, 3))
        y = self.middle(y, embedding)
        for block in self.up:
            y = jnp.repeat(jnp.repeat(y, 2, 0), 2, 1)
            y = block(jnp.concatenate([y, seen.pop()], axis=-1), embedding)
        return jnp.moveaxis(convolved(self.end, jax.nn.silu(y)), -1, 0).reshape(x.shape)

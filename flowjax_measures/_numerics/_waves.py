r"""Fourier's method on tori: fields at equidistant points as sums of waves e^{ik·x}.

Waves beyond a third of the points are taken off, so that products of two fields are projected
without aliasing (the 2/3 rule), and what is cubic in a field is integrated exactly.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float


class Waves:
    """The waves of real fields with `shape` points on a torus with sides of the given `length`.

    - `k`: the wave vector, an array for each axis.
    - `kept`: 1 for the waves that stay, 0 for those beyond a third of the points.
    """

    def __init__(self, shape: tuple[int, ...], length: ArrayLike, dtype: jnp.dtype):
        sides = jnp.broadcast_to(jnp.asarray(length, dtype), (len(shape),))
        counts = [np.fft.fftfreq(n, 1 / n) for n in shape[:-1]]
        counts += [np.fft.rfftfreq(shape[-1], 1 / shape[-1])]
        grid = np.meshgrid(*counts, indexing="ij")
        inside = [3 * np.abs(m) < n for m, n in zip(grid, shape, strict=True)]
        self.shape, self.axes = shape, tuple(range(-len(shape), 0))
        self.kept = jnp.asarray(np.all(inside, 0), dtype)
        self.k = [2 * jnp.pi / side * m.astype(dtype) for side, m in zip(sides, grid, strict=True)]

    def square(self) -> Float[Array, "..."]:
        """|k|²."""
        return sum((k**2 for k in self.k), jnp.zeros_like(self.kept))

    def over(self, symbol: Float[Array, "..."]) -> Float[Array, "..."]:
        """1 over a factor, and 0 where it vanishes: waves that it does not see."""
        seen = symbol != 0
        return jnp.where(seen, 1 / jnp.where(seen, symbol, 1), 0)

    def forward(self, field: Float[Array, "..."]) -> Complex[Array, "..."]:
        """The waves of a field that are kept; leading axes are components."""
        waves = jnp.fft.rfftn(field, axes=self.axes)
        return scale(self.kept, waves)

    def back(self, waves: Complex[Array, "..."]) -> Float[Array, "..."]:
        """The field of waves."""
        return jnp.fft.irfftn(waves, self.shape, self.axes)

    def slope(self, waves: Complex[Array, "..."], axis: int) -> Complex[Array, "..."]:
        """The waves of ∂_axis."""
        return scale(self.k[axis], jax.lax.complex(-jnp.imag(waves), jnp.real(waves)))


def scale(factor: Float[Array, "..."], waves: Complex[Array, "..."]) -> Complex[Array, "..."]:
    """A real factor of each wave."""
    return factor.astype(waves.dtype) * waves


def points(shape: tuple[int, ...], length: ArrayLike, dtype: jnp.dtype) -> list[Array]:
    """The coordinates of the points, each of the grid's shape."""
    sides = jnp.broadcast_to(jnp.asarray(length, dtype), (len(shape),))
    lines = [side * jnp.arange(n, dtype=dtype) / n for side, n in zip(sides, shape, strict=True)]
    return jnp.meshgrid(*lines, indexing="ij")


def spread(
    field: ArrayLike | Callable, shape: tuple[int, ...], length: ArrayLike, dtype: jnp.dtype
) -> Array:
    """A constant, or a function of position, as values at all points with components first."""
    if callable(field):
        grid = jnp.stack(points(shape, length, dtype), -1).reshape(-1, len(shape))
        values = jnp.moveaxis(jnp.asarray(jax.vmap(field)(grid), dtype), 0, -1)
        return values.reshape(*values.shape[:-1], *shape)
    value = jnp.asarray(field, dtype)
    return jnp.broadcast_to(value[(..., *[None] * len(shape))], (*value.shape, *shape))

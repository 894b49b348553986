r"""A network of fields of functions, the same on every grid ([li2021fno]).

    v ← v + act(W v + K v + b(t, c)),   K v = Σ_{|k| < m} R_k v̂_k e^{2πi⟨k, p⟩}

on a torus. W and the R_k, matrices between channels, don't know the grid: on a finer one the
network is the same function of functions, up to what the grid doesn't resolve.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from ..._custom_types import FloatScalar, PRNGKey
from ...measures._base import replace
from ._conditioning import Conditioning
from ._fourier_layer import FourierLayer, pointwise


class FourierNeuralOperator(eqx.Module):
    """A velocity, a score or a denoiser of functions on a uniform grid in one or more dimensions.

    A point is the values of a function as one row of numbers, which is how `Particles` and the
    losses have it, or of the shape of the grid; values have the shape of the point.

    **Arguments:**

    - `shape`: of the grid, such as (64,) or (32, 32). `on` gives the network on another one.
    - `modes`: m, of each axis; the axes have at least 2m − 1 points.
    - `width`, `depth`: channels, and layers between the first and the last.
    - `periodic`: whether the grid is of a torus. If not, functions are continued by 0 to a torus
      a quarter larger, and the network is told the coordinates.
    - `time`, `labels`, `condition`, `dtype`: as of `MLP`.

    **Raises:** `ValueError` for points of another size, and as `MLP` for unknown labels.

    !!! example

        `FourierNeuralOperator((32,), modes=4, width=8, key=jax.random.key(0)).on((64,))`
    """

    given: Conditioning
    start: eqx.nn.Linear
    layers: list[FourierLayer]
    end: eqx.nn.MLP
    shape: tuple[int, ...] = eqx.field(static=True)
    modes: int = eqx.field(static=True)
    periodic: bool = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        key: PRNGKey,
        modes: int = 8,
        width: int = 32,
        depth: int = 3,
        periodic: bool = False,
        time: int = 4,
        labels: int = 0,
        condition: int = 0,
        dtype: DTypeLike | None = None,
    ):
        self.shape, self.modes, self.periodic = _checked(shape, modes), modes, periodic
        keys = jax.random.split(key, depth + 3)
        self.given = Conditioning(time, labels, condition, 16, keys[0], dtype)
        inputs = 1 + (0 if periodic else len(shape))
        self.start = eqx.nn.Linear(inputs, width, dtype=dtype, key=keys[1])
        sizes = len(shape), modes, width, self.given.size
        self.layers = [FourierLayer(*sizes, k, dtype) for k in keys[3:]]
        self.end = eqx.nn.MLP(
            width, "scalar", width, 1, jax.nn.silu, dtype=dtype, key=keys[2]
        )  # fmt: skip

    def on(self, shape: tuple[int, ...]) -> "FourierNeuralOperator":
        """The same network of functions on a grid of another `shape`."""
        if len(shape) != len(self.shape):
            raise ValueError(f"`shape` is {shape}; this network is of {len(self.shape)} axes.")
        return replace(self, shape=_checked(shape, self.modes))

    def __call__(self, t: FloatScalar, x: Float[Array, "*grid"], c: Any = None) -> Array:
        size = int(np.prod(self.shape))
        if x.shape not in ((size,), self.shape):
            raise ValueError(
                f"`x` has shape {x.shape}; this network is on a grid of {self.shape}: give "
                f"({size},) values, or take its `on` of their grid."
            )
        told = self.given(t, c, x.dtype)
        values = [x.reshape(1, *self.shape)]
        if not self.periodic:
            axes = [(np.arange(n) + 0.5) / n for n in self.shape]
            values.append(jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij")), x.dtype))
        v = pointwise(self.start, jnp.concatenate(values))
        wider = [(0, 0) if self.periodic else (0, -(-n // 4)) for n in self.shape]
        v = jnp.pad(v, [(0, 0), *wider])
        for layer in self.layers:
            v = v + layer(v, told)
        v = v[(slice(None), *(slice(n) for n in self.shape))]
        return jax.vmap(self.end, 1)(v.reshape(len(v), -1)).reshape(x.shape)


def _checked(shape: tuple[int, ...], modes: int) -> tuple[int, ...]:
    if not shape or min(shape) < 2 * modes - 1:
        raise ValueError(
            f"`shape` is {shape}; {modes} `modes` need axes of at least {2 * modes - 1} points."
        )
    return tuple(shape)

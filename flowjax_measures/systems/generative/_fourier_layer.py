"""A layer of a network of functions, which acts on the channels at points and at frequencies."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class FourierLayer(eqx.Module):
    """act(W v + K v + b): K by the real and imaginary parts of R on half of the frequencies."""

    local: eqx.nn.Linear
    shift: eqx.nn.Linear
    spectral: Float[Array, "2 modes width width"]
    modes: int = eqx.field(static=True)

    def __init__(self, axes: int, modes: int, width: int, size: int, key, dtype):
        a, b, c = jax.random.split(key, 3)
        self.modes, count = modes, (2 * modes - 1) ** (axes - 1) * modes
        self.local = eqx.nn.Linear(width, width, dtype=dtype, key=a)
        self.shift = eqx.nn.Linear(size, width, use_bias=False, dtype=dtype, key=b)
        self.spectral = jax.random.normal(c, (2, count, width, width), dtype) / (2 * width) ** 0.5

    def __call__(self, v: Array, told: Array) -> Array:
        grid, m = v.shape[1:], self.modes
        axes = tuple(range(1, v.ndim))
        # The mean over the grid, not the sum: coefficients that are those of the function.
        found = jnp.fft.rfftn(v, axes=axes, norm="forward")
        kept = np.ix_(*(np.r_[0:m, n - m + 1 : n] for n in grid[:-1]), np.arange(m))
        matrices = jax.lax.complex(self.spectral[0], self.spectral[1])
        low = found[(slice(None), *kept)]
        new = jnp.einsum("koi,ik->ok", matrices, low.reshape(len(v), -1)).reshape(low.shape)
        whole = jnp.zeros_like(found).at[(slice(None), *kept)].set(new)
        moved = jnp.fft.irfftn(whole, s=grid, axes=axes, norm="forward")
        shift = self.shift(told).reshape(-1, *(1 for _ in grid))
        return jax.nn.silu(pointwise(self.local, v) + moved + shift)


def pointwise(layer: eqx.nn.Linear, v: Array) -> Array:
    """The layer at each point of the grid."""
    bias: Any = layer.bias
    found = layer.weight @ v.reshape(len(v), -1) + bias[:, None]
    return found.reshape(-1, *v.shape[1:])

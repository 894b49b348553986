r"""A network of fields: of a time, a point and perhaps a condition.

f(t, x, c) = W_L act(… act(W_1 [x, φ(t), e_c] + b_1) …) + b_L,   φ(t) = (t, cos kπt, sin kπt)_k
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from ..._custom_types import FloatScalar, PRNGKey


class MLP(eqx.Module):
    """A multilayer perceptron with features of time: a velocity, a score, a denoiser, a potential.

    **Arguments:**

    - `dim`: d, the size of a point. `width`, `depth`: of the hidden layers.
    - `out`: the size of a value, d by default; "scalar" is a potential, for `GradientField`.
    - `time`: the number of frequencies k in φ; 0 leaves the time out.
    - `labels`: the number of labels c that it may be given, integers in [0, `labels`); −1, the
      default of a call, is none.
    - `condition`: the size of a vector c in place of labels.
    - `activation`, `dtype`: of the layers; `None` is JAX's default.

    !!! example

        `MLP(2, key=jax.random.key(0))(0.3, jnp.zeros(2))`
    """

    layers: eqx.nn.MLP
    names: Float[Array, "labels width"] | None
    dim: int = eqx.field(static=True)
    time: int = eqx.field(static=True)
    condition: int = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        *,
        key: PRNGKey,
        width: int = 128,
        depth: int = 3,
        out: int | Literal["scalar"] | None = None,
        time: int = 4,
        labels: int = 0,
        condition: int = 0,
        activation: Callable[[Array], Array] = jax.nn.silu,
        dtype: DTypeLike | None = None,
    ):
        if labels and condition:
            raise ValueError("`labels` and `condition` are both given; a condition is one of them.")
        one, two = jax.random.split(key)
        self.dim, self.time, self.condition = dim, time, condition
        size = min(width, 16) if labels else condition
        # A last row for points without a label.
        self.names = jax.random.normal(two, (labels + 1, size), dtype) if labels else None
        inputs = dim + (1 + 2 * time if time else 0) + size
        size_out = dim if out is None else out
        self.layers = eqx.nn.MLP(inputs, size_out, width, depth, activation, dtype=dtype, key=one)

    def __call__(self, t: FloatScalar, x: Float[Array, " d"], c: Any = None) -> Array:
        if x.shape != (self.dim,):
            raise ValueError(f"`x` has shape {x.shape}; this MLP takes points of {self.dim}.")
        parts = [x]
        if self.time:
            t = jnp.asarray(t, x.dtype)
            angles = t * np.asarray(np.pi * np.arange(1, self.time + 1), x.dtype)
            parts += [t[None], jnp.cos(angles), jnp.sin(angles)]
        if self.names is not None:
            parts.append(self.names[-1 if c is None else c].astype(x.dtype))
        elif self.condition:
            shape = None if c is None else jnp.shape(c)
            if shape != (self.condition,):
                raise ValueError(f"`c` has the shape {shape} and not ({self.condition},).")
            parts.append(jnp.asarray(c, x.dtype))
        elif c is not None:
            raise ValueError("`c` is given; make the MLP with `labels` or `condition`.")
        return self.layers(jnp.concatenate(parts))


class GradientField(eqx.Module):
    """∇_x ψ(t, x) of a potential ψ(t, x), such as `MLP(d, out="scalar", key=key)`.

    **Arguments:** `potential`: ψ, which is what is trained.

    !!! example

        `fm.GradientField(lambda t, x: f(x))(0.0, jnp.ones(2))`
    """

    potential: Callable[[FloatScalar, Array], FloatScalar]

    def __call__(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return jax.grad(self.potential, 1)(t, x)

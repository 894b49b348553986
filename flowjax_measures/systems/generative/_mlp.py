r"""A network of fields: of a time, a point and perhaps a condition.

f(t, x, c) = W_L act(… act(W_1 [x, φ(t), e_c] + b_1) …) + b_L,   φ(t) = (t, cos kπt, sin kπt)_k
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from ..._custom_types import FloatScalar, PRNGKey
from ._conditioning import Conditioning


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

    **Raises:** `ValueError` for points of another size, and for labels that it doesn't know: in
    compiled code its value is NaN there.

    !!! example

        `MLP(2, key=jax.random.key(0))(0.3, jnp.zeros(2))`
    """

    layers: eqx.nn.MLP
    given: Conditioning
    dim: int = eqx.field(static=True)

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
        one, two = jax.random.split(key)
        self.dim = dim
        self.given = Conditioning(time, labels, condition, min(width, 16), two, dtype)
        inputs, size = dim + self.given.size, dim if out is None else out
        self.layers = eqx.nn.MLP(inputs, size, width, depth, activation, dtype=dtype, key=one)

    def __call__(self, t: FloatScalar, x: Float[Array, " d"], c: Any = None) -> Array:
        if x.shape != (self.dim,):
            raise ValueError(f"`x` has shape {x.shape}; this MLP takes points of {self.dim}.")
        return self.layers(jnp.concatenate([x, self.given(t, c, x.dtype)]))


class GradientField(eqx.Module):
    """∇_x ψ(t, x) of a potential ψ(t, x), such as `MLP(d, out="scalar", key=key)`.

    **Arguments:** `potential`: ψ, which is what is trained.

    !!! example

        `fm.GradientField(lambda t, x: f(x))(0.0, jnp.ones(2))`
    """

    potential: Callable[[FloatScalar, Array], FloatScalar]

    def __call__(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return jax.grad(self.potential, 1)(t, x)

"""Parameters that are constant on layers of depth: what is trained."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._numerics import Checked


class PiecewiseConstant(Checked):
    r"""θ(t) = values[k] for k T/L ≤ t < (k + 1) T/L, and at the ends the first and the last.

    **Arguments:** `values`: shape (L, …), one parameter for each of L intervals; `horizon`: T.

    A matrix of attention may be one: `SelfAttention(value=PiecewiseConstant(values))`. Euler's
    method sees each value on the whole of its interval; other methods also look at the end of a
    step, beyond a jump, and have order 1 there. A time within 1e-4 of an interval before a jump
    counts as after it, since times are sums of steps.

    !!! example

        `fm.PiecewiseConstant(jnp.array([1.0, 2.0]), horizon=1.0)(0.7)`
    """

    values: Float[Array, "L ..."]
    horizon: float = 1.0

    def __call__(self, t: FloatScalar) -> Float[Array, "..."]:
        count = self.values.shape[0]
        index = jnp.floor(jnp.asarray(t) * count / self.horizon + 1e-4).astype(jnp.int32)
        return self.values[jnp.clip(index, 0, count - 1)]

"""The derivative of a fixed point x = T(x, θ): dx = (I − ∂_x T)⁻¹ ∂_θ T dθ."""

from collections.abc import Callable
from typing import Any

import jax
import optimistix as optx
from jaxtyping import Array, Float


def implicit(
    image: Callable[[Float[Array, " n"], Any], Float[Array, " n"]],
    x: Float[Array, " n"],
    given: Any,
) -> Float[Array, " n"]:
    """T(x, given) at an x that was found already, with the derivative of a fixed point in `given`.

    !!! example

        `implicit(lambda x, a: (x + a / x) / 2, jnp.sqrt(a), a)`, with the derivative of √a.
    """
    # At these tolerances one step is taken.
    once = optx.FixedPointIteration(rtol=1.0, atol=1.0)
    found = optx.fixed_point(image, once, jax.lax.stop_gradient(x), given, max_steps=2, throw=False)
    return found.value

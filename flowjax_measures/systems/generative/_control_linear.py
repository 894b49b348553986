r"""Fields linear in their controls, whose flows approximate optimal maps ([scagliotti2023]).

    ẋ = Σ_i F_i(x) u_i(t),   min_u ∫ ‖Φ_u(x) − y‖² dγ(x, y) + (β/2) ∫ ‖u‖² dt

with an optimal coupling γ of samples: pairs (x, y) whose y stays are driven by the controls, and
`pontryagin(ControlledFlow(ControlLinear(F), u), pairs, terminal, running)` is the gradient.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class ControlLinear(eqx.Module):
    """The field F(x) u of a `ControlledFlow`, of points x or of pairs (x, y) whose y stay.

    **Arguments:** `fields`: function of x to the vectors F_i(x), shape (k, d).

    !!! example

        `fm.ControlLinear(lambda x: jnp.stack([x, jnp.ones_like(x)]))`
    """

    fields: Callable[[Array], Float[Array, "k d"]]

    def __call__(self, x, u):
        if isinstance(x, tuple):
            return u @ self.fields(x[0]), jnp.zeros_like(x[1])
        return u @ self.fields(x)

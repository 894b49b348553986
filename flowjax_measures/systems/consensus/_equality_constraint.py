r"""A pull towards a constraint g(x) = 0 ([carrillo2024]).

    dX = −(1/ε) J(X)ᵀ g(X) dt,     J = ∇g

The gradient flow of |g|²/(2ε), with J by automatic differentiation. Added to a consensus it
minimises f on the set {g = 0}; an inequality h(x) ≤ 0 is g = max(h, 0).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import Point, Positive
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import floating


class EqualityConstraint(AbstractMeanField):
    r"""The force of a constraint; `ConsensusBased(f) + EqualityConstraint(g, epsilon)`.

    Without anything else |g|² falls at the rate 2|Jᵀg|²/(ε|g|²). For h/ε ≳ 1 explicit steps are
    unstable: `simulate(..., solver=ConstrainedEuler())` takes steps of any length.

    **Arguments:**

    - `constraint`: g, a function of one point to any number of values.
    - `epsilon`: ε > 0; the smaller, the nearer points stay.

    !!! example

        `fm.ConsensusBased(f) + fm.EqualityConstraint(lambda x: x @ x - 1, epsilon=0.01)`
    """

    constraint: Callable[[Point], Any]
    epsilon: Positive = 0.01

    def linearised(self, x: Point) -> tuple[Float[Array, " m"], Float[Array, "m d"]]:
        """g(x) and J(x), on the ravelled float leaves of x."""
        here, unravel = ravel_pytree(floating(x))
        values = lambda z: jnp.ravel(self.constraint(unravel(z)))  # noqa: E731
        return values(here), jax.jacobian(values)(here)

    def rates(self, t, x, mu):
        values, slopes = self.linearised(x)
        return Rates(ravel_pytree(floating(x))[1](-slopes.T @ values / self.epsilon))

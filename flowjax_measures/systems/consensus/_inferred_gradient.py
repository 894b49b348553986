r"""Descent along gradients inferred from the others' energies ([schillings2023]).

    dX = −γ g(X) dt,     g(x) = argmin_g ⟨(f(y) − f(x) − g·(y − x))²⟩_{−|x − y|²/(2κ²)} + r|g|²

The slope that explains the energies of the points around x best. No derivative of f is taken. The
paper fits a quadratic with weights |x − y|⁻⁶, in one point for all; here it is a plane around each.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative, Point, Positive
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import floating
from ._ensemble import flat


class InferredGradient(AbstractMeanField):
    r"""Gradient descent without gradients; add it to a consensus: `ConsensusBased(f) + …`.

    For f linear g is ∇f exactly, whatever the points, when they span the space; for other f it is
    off by O(κ) times the curvature, and by O(κ²) where points are symmetric around x.

    **Arguments:**

    - `objective`: function f of one point.
    - `rate`: γ.
    - `kernel_width`: κ, within which points count.
    - `ridge`: r ≥ 0, a squared length; needed where fewer than d + 1 points are within κ.

    !!! example

        `fm.simulate(fm.InferredGradient(f, kernel_width=0.5), mu, [0.0, 0.1], dt=0.01, key=key)`
    """

    objective: Callable[[Point], FloatScalar]
    rate: NonNegative = 1.0
    kernel_width: Positive = 1.0
    ridge: NonNegative = 1e-8

    def gradient(self, x: Point, mu: AbstractMeasure) -> Float[Array, " d"]:
        """g(x), on the ravelled float leaves of x."""
        here, energy = flat(x), self.objective(x)

        def squares(y):
            away = flat(y) - here
            return jnp.outer(away, away), (self.objective(y) - energy) * away

        near = lambda y: -jnp.sum((flat(y) - here) ** 2) / (2 * self.kernel_width**2)  # noqa: E731
        matrix, right = mu.mean(squares, near)
        return jnp.linalg.solve(matrix + self.ridge * jnp.eye(here.size, dtype=here.dtype), right)

    def rates(self, t, x, mu):
        return Rates(ravel_pytree(floating(x))[1](-self.rate * self.gradient(x, mu)))

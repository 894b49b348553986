r"""The limit of attention on the sphere for many tokens and β → ∞, at times of order 1 (Bruno,
Pasqualotto and Agazzi).

    ẋ = P_x V KᵀQ x / |KᵀQ x|

A token reads what its query points at, if there is mass: the interaction is gone, and directions
align with the eigenspace of V KᵀQ of largest real part.
"""

import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._numerics import checked
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Isotropic
from ._matrices import Matrix, evaluated, times


class AlignmentFlow(AbstractMeanField):
    r"""The drift V KᵀQ x/|KᵀQ x|, projected by `space=Sphere()`.

    **Arguments:** `query`, `key`, `value`: matrices Q, K, V, or functions of time that return
    them; `None` is the identity.

    !!! example

        `fm.simulate(fm.AlignmentFlow(jnp.eye(3), jnp.eye(3)), tokens, [0.0, 1.0])`
    """

    query: Matrix = None
    key: Matrix = None
    value: Matrix = None

    def rates(self, t, x, mu):
        query, key, value = evaluated(self, t, x).values()
        looks = times(query, x)
        pointed = looks if key is None else key.T @ looks
        return Rates(times(value, pointed / jnp.linalg.norm(pointed)))


@checked
def alignment_flow(query: Matrix = None, key: Matrix = None, value: Matrix = None) -> AlignmentFlow:
    """The alignment phase of `SelfAttention(query, key, value, beta)` as β grows.

    !!! example

        `fm.alignment_flow(jnp.eye(3), jnp.eye(3), jnp.eye(3))`
    """
    return AlignmentFlow(query, key, value)


class HeatFlow(AbstractMeanField):
    r"""The limit at times t = βs: ∂_s μ = −γ Δμ, for a negative γ the heat equation.

    **Arguments:** `gamma`: γ = λ₂/λ₁ of V = λ₂ I and QᵀK = λ₁ I; it must be negative, as the
    backward heat equation has no solution to follow.

    On `Sphere()` the projected noise is Brownian motion on it.

    !!! example

        ```python
        fm.simulate(
            fm.HeatFlow(), fm.GridDensity(grid.rho, 0.0, 2 * jnp.pi, periodic=True), [0.0, 0.1]
        )
        ```
    """

    gamma: FloatScalar = -1.0

    def rates(self, t, x, mu):
        return Rates(jnp.zeros_like(x), Isotropic(jnp.sqrt(-2 * self.gamma)))

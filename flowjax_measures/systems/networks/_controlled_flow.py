r"""Points driven by a field with controls: a neural ODE as a control system.

    dx/dt = f(x, θ_k) for t in the k-th of K equal intervals of [0, T]

The field jumps at the ends of intervals, where steps of high order lose it: `pontryagin` takes one
interval after the other. The costates of Pontryagin's principle move by ṗ = −∂_x⟨p, f(x, θ_k)⟩.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._custom_types import Point, Scalar, Velocity
from ..._system import AbstractMeanField
from ...measures import Rates
from ...spaces import Phase


class ControlledFlow(AbstractMeanField):
    r"""A flow with piecewise constant controls, of points x or of pairs `Phase(x, p)`.

    **Arguments:**

    - `field`: function f(x, θ) of one point and one control.
    - `controls`: θ, a pytree with leading axis K.
    - `horizon`: T.
    """

    field: Callable[[Point, Any], Velocity]
    controls: PyTree
    horizon: Scalar = 1.0

    def number(self) -> int:
        """K."""
        return jax.tree.leaves(self.controls)[0].shape[0]

    def rates(self, t, x, mu):
        size = self.number()
        k = jnp.clip(jnp.floor(t / self.horizon * size), 0, size - 1).astype(int)
        theta = jax.tree.map(lambda a: a[k], self.controls)
        if not isinstance(x, Phase):
            return Rates(self.field(x, theta))
        velocity, pull_back = jax.vjp(lambda q: self.field(q, theta), x.q)
        return Rates(Phase(velocity, jax.tree.map(jnp.negative, pull_back(x.p)[0])))

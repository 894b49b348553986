r"""Points driven by a field with controls: a neural ODE as a control system.

    dx/dt = f(x, θ_k) or f(x, μ, θ_k) for t in the k-th of K equal intervals of [0, T]

The field jumps at the ends of intervals, where steps of high order lose it: `pontryagin` takes one
interval after the other. The costates of Pontryagin's principle move by ṗ = −∂_x⟨p, f(x, θ_k)⟩.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._custom_types import Point, Positive, Velocity
from ..._system import AbstractMeanField
from ...measures import Rates
from ...spaces import Phase


class ControlledFlow(AbstractMeanField):
    r"""A flow with piecewise constant controls, of points x or of pairs `Phase(x, p)`.

    **Arguments:**

    - `field`: function f(x, θ) of one point and one control or, where points see each other,
      f(x, mu, θ).
    - `controls`: θ, a pytree with leading axis K.
    - `horizon`: T.

    !!! example

        `fm.ControlledFlow(lambda x, c: c - x, fm.PiecewiseConstant(jnp.ones((4, 2))))`
    """

    field: Callable[..., Velocity]
    controls: PyTree
    horizon: Positive = 1.0

    def number(self) -> int:
        """K."""
        return jax.tree.leaves(self.controls)[0].shape[0]

    def rates(self, t, x, mu):
        size = self.number()
        k = jnp.clip(jnp.floor(t / self.horizon * size), 0, size - 1).astype(int)
        theta = jax.tree.map(lambda a: a[k], self.controls)
        if not isinstance(x, Phase):
            return Rates(self.velocity(x, mu, theta))
        if self.interacts():
            raise ValueError(
                "`field` sees the measure, and costates of single points do not tell how the "
                "others move; use `pontryagin`."
            )
        velocity, pull_back = jax.vjp(lambda q: self.field(q, theta), x.q)
        return Rates(Phase(velocity, jax.tree.map(jnp.negative, pull_back(x.p)[0])))

    def interacts(self) -> bool:
        """Whether the field sees the measure: whether it takes three arguments."""
        given = inspect.signature(self.field).parameters.values()
        named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        required = [p for p in given if p.kind in named and p.default is inspect.Parameter.empty]
        return len(required) == 3

    def velocity(self, x: Point, mu: Any, theta: Any) -> Velocity:
        """f at a point under one control."""
        field: Callable[..., Velocity] = self.field
        return field(x, mu, theta) if self.interacts() else field(x, theta)

r"""What trainings of deep networks of residual blocks share, whatever a block is.

x_{l+1} = x_l + (1/L) push(x_l; θ_l),      θ̇_l = −L M ∇_{θ_l} (1/N) Σ_k ℓ(f(z_k), y_k)
"""

import abc
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar
from ..._numerics import safe_sqrt
from ..._numerics._checks import check_positive
from ..._system import AbstractSystem
from ...measures import Increment
from ...measures._base import replace


class AbstractDeepTraining(AbstractSystem):
    """Gradient descent in the weights of all layers; `embedding` and `readout` stay."""

    L: eqx.AbstractVar[int]
    M: eqx.AbstractVar[int]
    data: eqx.AbstractVar[tuple[Array, Array]]
    loss: eqx.AbstractVar[Callable[[Any, Any], FloatScalar] | None]
    clip: eqx.AbstractVar[FloatScalar | None]
    order: eqx.AbstractVar[Literal[1, 2]]

    def __check_init__(self):
        for name in ("L", "M"):
            check_positive(name, getattr(self, name), 1)

    @abc.abstractmethod
    def predictions(self, weights: Any) -> Float[Array, "N d2"]:
        """f at all inputs."""

    def risk(self, weights: Any) -> FloatScalar:
        """The mean loss, which training descends."""
        loss = self.loss or (lambda f, y: jnp.sum((f - y) ** 2))
        return jnp.mean(jnp.asarray(jax.vmap(loss)(self.predictions(weights), self.data[1])))

    def through(
        self, push: Callable[[Array, PyTree], Array], start: Array, layers: PyTree
    ) -> Float[Array, "layers ..."]:
        """x_0, …, x_L; `order` 2 takes each block by the midpoint rule."""

        def block(x, layer):
            middle = x + push(x, layer) / (2 * self.L) if self.order == 2 else x
            x = x + push(middle, layer) / self.L
            return x, x

        return jnp.concatenate([start[None], jax.lax.scan(block, start, layers)[1]])

    def __call__(self, t, state):
        def velocity(a):
            a = -self.L * self.M * a
            if self.clip is None:
                return a
            speed = safe_sqrt(jnp.sum(a**2, -1, keepdims=True))
            return a * (self.clip / jnp.maximum(speed, self.clip))

        moved = jax.tree.map(velocity, jax.grad(self.risk)(state))
        return Increment(replace(moved, embedding=None, readout=None))

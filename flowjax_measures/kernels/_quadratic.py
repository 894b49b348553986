"""Quadratic potentials and kernels, the cases with closed forms."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import Checked


class Quadratic(Checked):
    """V(x) = ½ (x − centre)ᵀ A (x − centre); `stiffness` is a number, or the matrix A.

    !!! example

        `fm.Quadratic(2.0)(jnp.ones(2))`
    """

    stiffness: FloatScalar | Float[Array, "d d"] = 1.0
    centre: FloatScalar | Float[Array, " d"] = 0.0

    def __call__(self, x) -> FloatScalar:
        z = x - self.centre
        pull = self.stiffness @ z if jnp.ndim(self.stiffness) == 2 else self.stiffness * z
        return jnp.vdot(z, pull) / 2


class QuadraticKernel(Checked):
    """K(x, y) = ½ κ ‖x − y‖²; `strength` is κ.

    !!! example

        `fm.InteractionEnergy(fm.QuadraticKernel(1.0))(mu)`
    """

    strength: FloatScalar = 1.0

    def __call__(self, x, y) -> FloatScalar:
        return self.strength * jnp.sum((x - y) ** 2) / 2

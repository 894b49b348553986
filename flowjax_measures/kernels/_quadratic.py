"""Quadratic potentials and kernels, the cases with closed forms."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._custom_types import FloatScalar


class Quadratic(eqx.Module):
    """V(x) = ½ (x − centre)ᵀ A (x − centre); `stiffness` is a number, or the matrix A.

    !!! example

        `fm.Quadratic(2.0)(jnp.ones(2))`
    """

    stiffness: Any = 1.0
    centre: Any = 0.0

    def __call__(self, x) -> FloatScalar:
        z = x - self.centre
        pull = self.stiffness @ z if jnp.ndim(self.stiffness) == 2 else self.stiffness * z
        return jnp.vdot(z, pull) / 2


class QuadraticKernel(eqx.Module):
    """K(x, y) = ½ κ ‖x − y‖²; `strength` is κ.

    !!! example

        `fm.InteractionEnergy(fm.QuadraticKernel(1.0))(mu)`
    """

    strength: Any = 1.0

    def __call__(self, x, y) -> FloatScalar:
        return self.strength * jnp.sum((x - y) ** 2) / 2

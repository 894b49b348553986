r"""A kernel of two points that sees them in other coordinates, with values that are matrices.

K(x, y) = C k(C^{-1/2} x, C^{-1/2} y),   C symmetric positive definite ([wang2019])
"""

from typing import Any

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from .._custom_types import Point
from .._numerics import Checked


class MatrixKernel(Checked):
    r"""K(x, y) = C k(C^{-1/2} x, C^{-1/2} y), a matrix (d, d): for the `Stein` metric.

    The Stein flow in the coordinates C^{-1/2} x with the kernel k: with C near the target's
    covariance all directions move at one speed.

    **Arguments:** `kernel`: k, a function of the distance of two points. `matrix`: C.

    !!! example

        `fm.MatrixKernel(fm.GaussianKernel(1.0), jnp.eye(2))`
    """

    kernel: Any
    matrix: Float[Array, "d d"]

    def __call__(self, x: Point, y: Point) -> Float[Array, "d d"]:
        # A rotation of the root, L for C = L Lᵀ, changes no distance.
        lower = jnp.linalg.cholesky(self.matrix)
        here, there = (solve_triangular(lower, z, lower=True) for z in (x, y))
        return self.matrix * self.kernel(here, there)

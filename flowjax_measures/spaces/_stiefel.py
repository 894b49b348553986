"""The Stiefel manifold of k orthonormal vectors in R^p."""

import jax.numpy as jnp
from jax.scipy.linalg import expm

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics._matrix import square_root
from ._base import AbstractSpace
from ._euclidean import Euclidean


class Stiefel(AbstractSpace):
    r"""Matrices x of shape (p, k) with xᵀx = I; $P_x v = v − x\,\mathrm{sym}(xᵀv)$ gives tangents.

    With k = 1 it is the sphere, with k = p the orthogonal group.

    !!! example

        `fm.Particles(jnp.tile(jnp.eye(3)[:, :2], (4, 1, 1)), space=fm.Stiefel())`
    """

    def project(self, x: Point, v: Velocity) -> Velocity:
        inner = x.T @ v
        return v - x @ (inner + inner.T) / 2

    def nearest(self, x: Point) -> Point:
        # The polar factor x(xᵀx)^{−½}: unlike that of an SVD its derivative is finite where
        # singular values meet, as they do on the manifold. A step of Newton's mends the round-off.
        x = jnp.linalg.solve(square_root(x.T @ x), x.T).T
        return x @ (3 * jnp.eye(x.shape[1], dtype=x.dtype) - x.T @ x) / 2

    def exponential(self, x: Point, v: Velocity) -> Point:
        """The end of the geodesic from `x` with the tangent `v` ([edelman1998])."""
        spin, eye = x.T @ v, jnp.eye(x.shape[1], dtype=x.dtype)
        turn = expm(jnp.block([[spin, -v.T @ v], [eye, spin]]))[:, : x.shape[1]]
        return jnp.concatenate([x, v], axis=1) @ turn @ expm(-spin)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        """The chord |x − y|: geodesics have no closed form, and both agree to third order."""
        return Euclidean().distance(x, y)

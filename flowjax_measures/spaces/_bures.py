r"""Gaussians as points: the Bures–Wasserstein space of pairs (m, Σ), with W₂ for its distance."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Point, Velocity
from .._numerics import safe_sqrt
from .._numerics._matrix import square_root
from ._base import AbstractSpace


class Bures(AbstractSpace):
    r"""Points with fields `m` and `cov`, such as a `Gaussian`; measures on it are mixtures.

        ⟨(a, S), (b, T)⟩ = ⟨a, b⟩ + tr(L_S Σ L_T),   L Σ + Σ L = S

    is the metric ([lambert2022]). Tangents are symmetric. A step that is too long leaves the cone.

    !!! example

        `Particles(jax.vmap(Gaussian)(m, cov), space=Bures())` with m of shape (n, d) is a mixture
        of n Gaussians.
    """

    def project(self, x: Point, v: Velocity) -> Velocity:
        return _symmetric(v)

    def nearest(self, x: Point) -> Point:
        return _symmetric(x)

    def distance(self, x: Point, y: Point) -> FloatScalar:
        return safe_sqrt(bures_square(x, y))

    def gradient(self, x: Point, slope: Velocity) -> Velocity:
        """The gradient of a function whose partial derivatives are `slope`: (s, 2(SΣ + ΣS))."""
        pull = 2 * _symmetric(slope).cov @ x.cov
        return eqx.tree_at(lambda g: g.cov, slope, pull + pull.T)


def _symmetric(x: Any) -> Any:
    return eqx.tree_at(lambda g: g.cov, x, (x.cov + x.cov.T) / 2)


def bures_square(x: Any, y: Any) -> Float[Array, ""]:
    """W₂² = ‖m − n‖² + tr(A + B − 2 (B^{1/2} A B^{1/2})^{1/2})."""
    root = square_root(y.cov)
    cross = square_root(root @ x.cov @ root)
    return jnp.sum((x.m - y.m) ** 2) + jnp.trace(x.cov + y.cov - 2 * cross)

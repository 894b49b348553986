r"""The Wasserstein distance of Gaussians, as a number, a map and an energy.

F(μ) = ½ W₂²(μ, ν),   δF/δμ(x) = ½|x|² − u(x),   ∇u the optimal map from μ to ν
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._numerics._matrix import square_root
from ..measures import AbstractMeasure, Gaussian
from ..spaces._bures import bures_square
from ._base import AbstractTransportEnergy


class SquaredWasserstein(AbstractTransportEnergy):
    r"""½ W₂²(·, target) between `Gaussian`s; its flow is v(x) = T(x) − x along geodesics.

    Weighted sums have their minimum at the barycentre: `0.5 * SquaredWasserstein(a) + 0.5 *
    SquaredWasserstein(b)`. Other measures: `SlicedWasserstein`, exact on the line, and
    `SinkhornDivergence`.

    **Arguments:** `target`: ν.
    """

    target: Gaussian

    def __call__(self, mu):
        return bures(mu, self.target) / 2

    def first_variation(self, x, mu):
        _check(mu, self.target)
        z, shift = x - mu.m, mu.m - self.target.m
        return jnp.vdot(z, z - bures_map(mu, self.target) @ z) / 2 + jnp.vdot(z, shift)


def bures(mu: Gaussian, nu: Gaussian) -> Float[Array, ""]:
    r"""The squared Bures–Wasserstein distance, W₂² of two Gaussians:

    ‖m − n‖² + tr(A + B − 2 (B^{1/2} A B^{1/2})^{1/2}).
    """
    _check(mu, nu)
    return bures_square(mu, nu)


def _check(mu: AbstractMeasure, nu: AbstractMeasure) -> None:
    if not (isinstance(mu, Gaussian) and isinstance(nu, Gaussian)):
        raise ValueError(
            f"`bures` is between Gaussians, not {type(mu).__name__} and {type(nu).__name__}; "
            "`wasserstein(mu, nu, 2)` takes other measures."
        )


def bures_map(mu: Gaussian, nu: Gaussian) -> Float[Array, "d d"]:
    """The matrix T of the optimal map x ↦ n + T (x − m) from μ to ν; μ must be non-singular."""
    root = square_root(mu.cov)
    inner = square_root(root @ nu.cov @ root)
    half = jnp.linalg.solve(root, inner)
    return jnp.linalg.solve(root, half.T).T

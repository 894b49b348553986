r"""The Wasserstein distance of Gaussians, as a number, a map and an energy.

F(μ) = ½ W₂²(μ, ν),   δF/δμ(x) = ½|x|² − u(x),   ∇u the optimal map from μ to ν
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._numerics import checked
from .._numerics._matrix import square_root
from ..measures import AbstractMeasure, Gaussian
from ..measures._base import concrete
from ..spaces._bures import bures_square
from ._base import AbstractTransportEnergy
from ._ground import shared_space


class SquaredWasserstein(AbstractTransportEnergy):
    r"""½ W₂²(·, target) between `Gaussian`s; its flow is v(x) = T(x) − x along geodesics.

    Weighted sums have their minimum at the barycentre: `0.5 * SquaredWasserstein(a) + 0.5 *
    SquaredWasserstein(b)`. Other measures: `SlicedWasserstein`, exact on the line, and
    `SinkhornDivergence`.

    **Arguments:** `target`: ν.

    !!! example

        ```python
        fm.simulate(
            fm.GradientFlow(fm.SquaredWasserstein(ball)),
            fm.Gaussian(jnp.ones(2), jnp.eye(2)),
            [0.0, 1.0],
        )
        ```
    """

    target: Gaussian

    def __call__(self, mu):
        return bures(mu, self.target) / 2

    def first_variation(self, x, mu):
        _check(mu, self.target)
        z, shift = x - mu.m, mu.m - self.target.m
        return jnp.vdot(z, z - bures_map(mu, self.target) @ z) / 2 + jnp.vdot(z, shift)


@checked
def bures(mu: Gaussian, nu: Gaussian) -> Float[Array, ""]:
    r"""The squared Bures–Wasserstein distance, W₂² of two Gaussians:

    ‖m − n‖² + tr(A + B − 2 (B^{1/2} A B^{1/2})^{1/2}).

    !!! example

        `fm.bures(ball, fm.Gaussian(jnp.ones(2), 2 * jnp.eye(2)))`
    """
    _check(mu, nu)
    return bures_square(mu, nu)


def _check(mu: AbstractMeasure, nu: AbstractMeasure) -> None:
    if not (isinstance(mu, Gaussian) and isinstance(nu, Gaussian)):
        raise ValueError(
            f"`bures` is between Gaussians, not {type(mu).__name__} and {type(nu).__name__}; "
            "`wasserstein(mu, nu, 2)` takes other measures."
        )
    shared_space(mu, nu)


@checked
def bures_map(mu: Gaussian, nu: Gaussian) -> Float[Array, "d d"]:
    """The matrix T of the optimal map x ↦ n + T (x − m) from μ to ν.

    **Raises:** `ValueError` for a singular `mu`, which a map may not reach ν from; `mccann` needs
    none.

    !!! example

        `fm.bures_map(ball, fm.Gaussian(jnp.ones(2), 2 * jnp.eye(2)))`
    """
    _check(mu, nu)
    if known_singular(mu.cov):
        raise ValueError(
            "`mu` is singular: no map sends it to all of `nu`. `mccann` and `kinetic_interpolation`"
            " take it as it is, and from a non-singular `nu` there is a map to it."
        )
    return _map(mu.cov, nu.cov)


def bures_coupling(mu: Gaussian, nu: Gaussian) -> Float[Array, "d d"]:
    """E (X − m)(Y − n)ᵀ of the optimal pair; neither covariance need be regular.

    A T where μ has a map. Else A^{1/2} U B^{1/2} with the orthogonal U for which
    tr A^{1/2} U B^{1/2} is largest, whose derivative is left out.
    """
    singular = _singular(mu.cov)
    regular = jnp.where(singular, jnp.eye(mu.m.size, dtype=mu.m.dtype), mu.cov)
    root_a, root_b = (square_root(jax.lax.stop_gradient(m.cov)) for m in (mu, nu))
    left, _, right = jnp.linalg.svd(root_a @ root_b)
    turned = root_a @ left @ right @ root_b
    return jnp.where(singular, turned, regular @ _map(regular, nu.cov))


def _map(a: Float[Array, "d d"], b: Float[Array, "d d"]) -> Float[Array, "d d"]:
    root = square_root(a)
    inner = square_root(root @ b @ root)
    half = jnp.linalg.solve(root, inner)
    return jnp.linalg.solve(root, half.T).T


def known_singular(cov: Float[Array, "d d"]) -> bool:
    """Whether a covariance is singular, where its values are there to see."""
    if not concrete(cov):
        return False
    # A velocity is compiled around measures that are known.
    with jax.ensure_compile_time_eval():
        return bool(_singular(cov))


def _singular(cov: Float[Array, "d d"]) -> Bool[Array, ""]:
    """Whether a map would lose half of the digits."""
    values = jnp.linalg.eigvalsh(jax.lax.stop_gradient(cov))
    return values[0] <= jnp.sqrt(jnp.finfo(cov.dtype).eps) * values[-1]

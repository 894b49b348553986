r"""Velocities from a path of densities on a grid ([dacorogna1990], [benamou2000]).

∂_t ρ + ∇·(ρ v) = 0 has many solutions v; two are

    ρ v = ∇ψ,  Δψ = −∂_t ρ  (Dacorogna and Moser),   v = ∇ψ,  ∇·(ρ ∇ψ) = −∂_t ρ  (least squares),

the second of the least energy ∫ ‖v‖² ρ dx. Over a path the integral of this energy is at least W₂²
of the ends, and W₂² on geodesics (Benamou and Brenier).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import checked
from ..measures import GridDensity
from ..measures._grid import _average, _close, _difference


class GridVelocity(NamedTuple):
    """A velocity on a grid.

    - `velocity`: v at the centres of cells, shape (*cells, d).
    - `flux`: ρ v through the upper faces along each axis, which satisfies the discrete equation.
    - `action`: ∫ ‖v‖² ρ dx.

    !!! example

        `fm.least_squares_velocity(grid, grid.rho[::-1] - grid.rho).action`
    """

    velocity: Float[Array, "*cells d"]
    flux: list[Array]
    action: FloatScalar


@checked
def dacorogna_moser(mu: GridDensity, rate: Float[Array, "*cells"]) -> GridVelocity:
    """The velocity of Dacorogna and Moser for a density `mu` that changes at `rate` = ∂_t ρ.

    Not a gradient beyond one dimension, and unbounded where the density vanishes: between
    Gaussians in the plane its action is infinite. Nothing passes walls; a `rate` that changes the
    mass is freed of that change, in proportion to the density.

    !!! example

        `fm.dacorogna_moser(grid, grid.rho[::-1] - grid.rho).velocity`
    """
    return _velocity(mu, rate, [jnp.ones_like(mu.rho)] * mu.rho.ndim)


@checked
def least_squares_velocity(mu: GridDensity, rate: Float[Array, "*cells"]) -> GridVelocity:
    """The gradient velocity of least energy for a density `mu` that changes at `rate` = ∂_t ρ.

    !!! example

        `fm.least_squares_velocity(grid, grid.rho[::-1] - grid.rho).velocity`
    """
    return _velocity(mu, rate, _faces(mu))


def _faces(mu: GridDensity) -> list[Array]:
    return [_average(mu.rho, axis, mu.periodic[axis]) for axis in range(mu.rho.ndim)]


def _velocity(mu: GridDensity, rate: Array, weights: list[Array]) -> GridVelocity:
    if jnp.shape(rate) != mu.rho.shape:
        raise ValueError(f"`rate` has shape {jnp.shape(rate)}; give one of shape {mu.rho.shape}.")
    axes = range(mu.rho.ndim)

    def flux(psi):
        slopes = [_difference(psi, a, mu.periodic[a]) / mu.spacing[a] for a in axes]
        return [w * slope for w, slope in zip(weights, slopes, strict=True)]

    def operator(psi):
        return -mu._divergence(flux(psi))

    # What a cell's own value weighs: densities of very different sizes meet in tails.
    sizes = [w / mu.spacing[a] ** 2 for a, w in zip(axes, weights, strict=True)]
    diagonal = sum(size + jnp.roll(size, 1, a) for a, size in zip(axes, sizes, strict=True))

    def solve(_, right):
        start = right - jnp.mean(right)
        tolerance = 10 * float(jnp.finfo(right.dtype).eps)
        scaled = lambda r: r / jnp.maximum(diagonal, jnp.finfo(r.dtype).tiny)  # noqa: E731
        found = cg(operator, start, tol=tolerance, maxiter=20 * right.size, M=scaled)[0]
        return jnp.where(jnp.all(jnp.isfinite(right)), found, jnp.nan)

    # What quadrature leaves of the mass goes where the mass is: in tails nothing could carry it.
    rate = rate - mu.rho * (jnp.sum(rate) / jnp.sum(mu.rho))
    psi = jax.lax.custom_linear_solve(operator, rate, solve, symmetric=True)
    through = flux(psi)
    walls = [_close(f, a, mu.periodic[a]) for a, f in zip(axes, through, strict=True)]
    means = [(f + jnp.roll(f, 1, a)) / 2 for a, f in zip(axes, walls, strict=True)]
    momentum = jnp.stack(means, axis=-1)
    dense = mu.rho > 0
    velocity = jnp.where(dense[..., None], momentum / jnp.where(dense, mu.rho, 1)[..., None], 0)
    energies = [
        jnp.where(rho > 0, f**2 / jnp.where(rho > 0, rho, 1), 0)
        for f, rho in zip(walls, _faces(mu), strict=True)
    ]
    return GridVelocity(velocity, walls, mu.cell * sum(jnp.sum(e) for e in energies))

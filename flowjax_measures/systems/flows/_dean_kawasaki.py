r"""The Dean–Kawasaki equation: the density of finitely many particles, with its fluctuations.

    ∂_t ρ = −∇·(ρ v) + ½Δ(σ²ρ) + ∇·(σ √(ρ/N) ξ),   ξ white in space and time

is Itô's formula for μ = (1/N) Σ_i δ_{x_i} of N particles dx_i = v dt + σ dW_i ([dean1996]). As an
equation of functions it has no solution; on cells larger than the distance between particles it
has the moments of the particles ([cornalba2023]). Between two cells the noise has the square
σ²(ρ_1 + ρ_2)/2N, that of N walkers who jump between the cells: where they are independent the
means and covariances of cells are those of the walkers, exactly.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import Numbers, Positive
from ..._numerics import checked
from ..._system import AbstractMeanField, AbstractSystem
from ...measures import GridDensity, Increment
from ...measures._base import evaluate, replace
from ...measures._grid import _close, _next
from ...measures._grid_noise import FaceNoise
from ...noise._noise import Covariance, Dense


@checked
def mean_mobility(a: Numbers, b: Numbers) -> Array:
    """(a + b)/2, of walkers who jump between two cells.

    !!! example

        `fm.mean_mobility(1.0, 2.0)`
    """
    return jnp.asarray(a + b) / 2


class DeanKawasaki(AbstractSystem):
    r"""N particles of a mean-field system with noise of their own, as a density on a grid.

    Noise takes from a cell no more than it holds, so that ρ ≥ 0: of the fluxes out of it, those
    that a step would not leave anything for are cut by one factor. Mass is kept to round-off, and
    the means as long as cells hold many particles.

    **Arguments:** `system`: the law of one particle, such as `Langevin(V)` or `McKeanVlasov(V, W)`.
    `number`: N, of the whole mass. `mobility`: of a face, from the densities on both its sides; the
    default has the exact covariances.

    **Raises:** `ValueError` for states that are not a `GridDensity`, and for noise that particles
    share or that is not isotropic or diagonal.

    !!! example

        `fm.simulate(fm.DeanKawasaki(fm.Langevin(V), 1000), fm.GridDensity(rho, 0.0, 1.0, True),
        [0.0, 1.0], dt=1e-4, key=key)`
    """

    system: AbstractMeanField
    number: Positive
    mobility: Callable[[Array, Array], Array] = mean_mobility

    def __call__(self, t, state):
        if not isinstance(state, GridDensity):
            raise ValueError(
                f"DeanKawasaki was given {type(state).__name__}; give a GridDensity, or run "
                "`system` itself from N Particles."
            )
        law = lambda x: self.system.rates(t, x, state)  # noqa: E731
        drift = state.lift(law).drift
        field = evaluate(law, state.centres().reshape(-1, state.rho.ndim))[1]
        if field is None:
            return Increment(drift)
        if any(part.shared or isinstance(part, Dense | Covariance) for part in field.parts):
            raise ValueError("DeanKawasaki wants noise of each particle, Isotropic or Diagonal.")
        squared = field.over_points(lambda part, x: jnp.diagonal(part.squared(x)))
        density = jnp.maximum(state.rho, 0)[..., None] * squared.reshape(*state.rho.shape, -1)
        squares = []
        for axis in range(state.rho.ndim):
            sides = density[..., axis], _next(density[..., axis], axis, state.periodic[axis])
            # A particle has the mass ∫ρ/N, and noise white in space the variance 1/|cell|.
            square = self.mobility(*sides) * state.mass() / (self.number * state.cell)
            squares.append(_close(square, axis, state.periodic[axis]))
        return Increment(drift, FaceNoise(state, squares))

    def transition(self, t, state, dt, increments):
        """One step of the density, of length `dt`, by Brownian increments over it."""
        drift, noise = self(t, state)
        rho = state.rho + jnp.asarray(dt, state.rho.dtype) * drift.rho
        fluxes = noise.fluxes(increments)
        out, below = jnp.zeros_like(rho), lambda f, a: jnp.roll(f, 1, a)
        for a, flux in enumerate(fluxes):
            leaving = jnp.maximum(flux, 0) + jnp.maximum(-below(flux, a), 0)
            out = out + leaving / state.spacing[a]
        enough = out <= rho
        # Less than all by round-off, so that the sum of the fluxes takes no more than there is.
        all_but = 1 - 16 * jnp.finfo(rho.dtype).eps
        share = jnp.where(enough, 1, all_but * jnp.maximum(rho, 0) / jnp.where(enough, 1, out))
        for a, flux in enumerate(fluxes):
            giver = jnp.where(flux > 0, share, _next(share, a, state.periodic[a]))
            fluxes[a] = giver * flux
        return replace(state, rho=rho - state._divergence(fluxes))

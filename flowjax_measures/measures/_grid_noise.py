r"""Noise of densities on grids that keeps their mass.

dρ = −∇·(√M dW) through faces,   dρ = √γ (√ρ dW − ρ ∫ √ρ dW) by copies of what is there
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._numerics import safe_sqrt
from ._base import replace
from ._grid import GridDensity


class FaceNoise(eqx.Module):
    """Independent fluxes through all faces, of the given squares a unit of time.

    **Arguments:** `state`: the grid. `squares`: for each axis an array of the grid's shape, of the
    upper faces along it.
    """

    state: GridDensity
    squares: list[Array]

    def brownian(self):
        return [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in self.squares]

    def fluxes(self, increments: Any) -> list[Array]:
        """What passes the faces."""
        pairs = zip(self.squares, increments, strict=True)
        return [safe_sqrt(square) * w for square, w in pairs]

    def apply(self, increments: Any) -> GridDensity:
        return replace(self.state, rho=-self.state._divergence(self.fluxes(increments)))


class CopyNoise(eqx.Module):
    """Members of a population that replace each other, at the rate `resampling` for a pair."""

    state: GridDensity
    resampling: Any

    def brownian(self):
        return jax.ShapeDtypeStruct(self.state.rho.shape, self.state.rho.dtype)

    def apply(self, increments: Any) -> GridDensity:
        grid = self.state
        root = jnp.sqrt(jnp.asarray(self.resampling, grid.rho.dtype)) * safe_sqrt(grid.rho)
        white = root * increments / jnp.sqrt(grid.cell)
        return replace(grid, rho=white - grid.rho * jnp.sum(white) * grid.cell / grid.mass())

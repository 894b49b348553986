r"""Densities on a grid: a system run from one is its Fokker–Planck equation."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._numerics import draw, given
from .._reduce import tilted_mean
from ..noise._noise import NoiseField
from ._base import AbstractMeasure, Increment, atoms_covariance, concrete, evaluate, replace
from ._pushed import Pushed


class GridDensity(AbstractMeasure):
    r"""A density on the cells of a box in one, two or three dimensions.

    The law of one point becomes a conservative finite-volume scheme for

        ∂_t ρ = −∇·(ρ v) + ½ Σ_ij ∂_i ∂_j (σσᵀ_ij ρ) + g ρ,

    second order in space: transport by limited upwind reconstruction (van Leer), diffusion by
    central differences. Without cross diffusion (off-diagonal σσᵀ) an explicit step short enough
    keeps ρ ≥ 0. Mass changes by growth alone, to round-off: walls let nothing through, periodic
    faces are glued.

    **Arguments:**

    - `rho`: values at cell centres, shape (n,), (n_x, n_y) or (n_x, n_y, n_z), non-negative; units
      of mass per volume.
    - `lower`, `upper`: the walls, a number or one for each axis.
    - `periodic`: whether opposite walls are glued, a bool or one for each axis.

    **Raises:** `ValueError` naming the field.

    !!! example

        `fm.GridDensity(jnp.ones(16), 0.0, 1.0, periodic=True).mean()`
    """

    rho: Float[Array, "..."]
    lower: Float[Array, " d"]
    upper: Float[Array, " d"]
    periodic: tuple[bool, ...] = eqx.field(static=True)

    flows: ClassVar[tuple[str, ...]] = ("rho",)

    def __init__(self, rho, lower, upper, periodic=False):
        self.rho = given("rho", rho)
        if not jnp.issubdtype(self.rho.dtype, jnp.inexact):
            raise ValueError("`rho` holds integers; give a floating-point density.")
        d = self.rho.ndim
        if d not in (1, 2, 3):
            raise ValueError(f"`rho` has {d} axes; grids have one, two or three dimensions.")
        if min(self.rho.shape) < 3:
            raise ValueError(f"`rho` has shape {self.rho.shape}; give at least 3 cells an axis.")
        walls = []
        for name, wall in (("lower", lower), ("upper", upper)):
            if wall is None:
                raise ValueError(f"`{name}` is None; a grid ends: give a number or {d} numbers.")
            wall = given(name, wall, self.rho.dtype)
            if wall.shape not in ((), (d,)):
                raise ValueError(f"`{name}` has shape {wall.shape}; give a number or {d} numbers.")
            walls.append(jnp.broadcast_to(wall, (d,)))
        self.lower, self.upper = walls
        flags = np.asarray(periodic)
        if flags.dtype != bool or flags.shape not in ((), (d,)):
            raise ValueError(f"`periodic` is {periodic!r}; give True or False, or {d} of them.")
        self.periodic = tuple(np.broadcast_to(flags, (d,)).tolist())
        self.check()

    def check(self):
        if not concrete(self.rho, self.lower, self.upper):
            return
        if not np.all(np.asarray(self.upper) > np.asarray(self.lower)):
            raise ValueError("`upper` must be greater than `lower` on every axis.")
        rho = np.asarray(self.rho)
        if not np.all(np.isfinite(rho)) or rho.min() < 0 or rho.max() <= 0:
            raise ValueError(
                "`rho` holds NaN, inf or negative values, or no mass at all; give a density."
            )

    @property
    def spacing(self) -> Float[Array, " d"]:
        """The cells' sides."""
        return (self.upper - self.lower) / jnp.asarray(self.rho.shape, self.rho.dtype)

    @property
    def cell(self) -> Float[Array, ""]:
        """The volume of one cell."""
        return jnp.prod(self.spacing)

    def centres(self) -> Float[Array, "*cells d"]:
        """The cells' centres, with the grid's axes first."""
        axes = [
            low + h * (jnp.arange(size, dtype=self.rho.dtype) + 0.5)
            for low, h, size in zip(self.lower, self.spacing, self.rho.shape, strict=True)
        ]
        return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)

    def mass(self) -> Float[Array, ""]:
        """∫ ρ."""
        return jnp.sum(self.rho) * self.cell

    def _points(self) -> Float[Array, "n d"]:
        return self.centres().reshape(-1, self.rho.ndim)

    def atoms(self):
        return self._points(), jnp.log(self.rho.ravel()) + jnp.log(self.cell)

    def weighted(self):
        return self

    def retract(self):
        return self

    def lift(self, rates):
        points = self._points()
        law, field = evaluate(rates, points)
        velocity = law.velocity.reshape(*self.rho.shape, self.rho.ndim)
        flux = [
            _transport(self.rho, velocity[..., a], a, self.periodic[a])
            for a in range(self.rho.ndim)
        ]
        if field is not None:
            squared = field.over_points(lambda part, x: part.squared(x))
            squared = squared.reshape(*self.rho.shape, self.rho.ndim, self.rho.ndim)
            spread = squared * self.rho[..., None, None] / 2
            flux = [f - self._diffusion(spread, a) for a, f in enumerate(flux)]
        drift = -self._divergence(flux)
        if law.growth is not None:
            drift = drift + jnp.reshape(law.growth, self.rho.shape) * self.rho
        noise = None
        if field is not None and any(part.shared for part in field.parts):
            shared = tuple(i for i, part in enumerate(field.parts) if part.shared)
            noise = _GridNoise(self, field, shared)
        return Increment(replace(self, rho=drift), noise)

    def _diffusion(self, spread: Float[Array, "*cells d d"], axis: int) -> Array:
        """Σ_j ∂_j (spread_{axis, j}) on the faces of one axis."""
        total = _difference(spread[..., axis, axis], axis, self.periodic[axis]) / self.spacing[axis]
        for j in range(self.rho.ndim):
            if j != axis:
                cross = _central(spread[..., axis, j], j, self.periodic[j]) / self.spacing[j]
                total = total + _average(cross, axis, self.periodic[axis])
        return total

    def _divergence(self, flux: list[Array]) -> Array:
        """Net outflow of each cell; `flux[a]` lives on the upper faces along axis a."""
        total = jnp.zeros_like(self.rho)
        for axis, upper in enumerate(flux):
            upper = _close(upper, axis, self.periodic[axis])
            total = total + (upper - jnp.roll(upper, 1, axis)) / self.spacing[axis]
        return total

    def tilt(self, fn, logits):
        # Densities may be 0, where log ρ has no derivative: ρ is carried as a value.
        points, rho = self._points(), self.rho.ravel()

        def weighed(cell):
            y, density = cell
            return density, jax.tree.map(lambda f: density * f, fn(y))

        tilt = None if logits is None else lambda cell: logits(cell[0])
        (mass, moments), log_normaliser = tilted_mean(weighed, tilt, (points, rho))
        empty = mass <= 0
        safe = jnp.where(empty, 1, mass)
        mean = jax.tree.map(lambda f: f / safe, moments)
        scale = jnp.log(safe) + jnp.log(self.cell * rho.size)
        return mean, jnp.where(empty, -jnp.inf, log_normaliser + scale)

    def covariance(self):
        return atoms_covariance(self)

    def push(self, fn):
        return Pushed(self, fn)

    def sample(self, key, n):
        pick, place = jax.random.split(key)
        index = draw(pick, self.rho.ravel(), n)
        cells = jnp.stack(jnp.unravel_index(index, self.rho.shape), 1).astype(self.rho.dtype)
        offset = jax.random.uniform(place, (n, self.rho.ndim), self.rho.dtype)
        points = self.lower + (cells + offset) * self.spacing
        return jnp.where(jnp.isfinite(self.mass()), points, jnp.nan)


class _GridNoise(eqx.Module):
    """Shared noise carries the whole density: dρ = −∇·(ρ σ⁰ dB)."""

    measure: GridDensity
    field: NoiseField
    shared: tuple[int, ...] = eqx.field(static=True)

    def _shared(self):
        parts = tuple(self.field.parts[i] for i in self.shared)
        law = lambda x: tuple(self.field.law(x)[i] for i in self.shared)  # noqa: E731
        return NoiseField(self.field.points, parts, law)

    def brownian(self):
        return self._shared().brownian()

    def apply(self, increments):
        grid = self.measure
        move = self._shared().apply(increments).reshape(*grid.rho.shape, grid.rho.ndim)
        flux = [
            _average(grid.rho * move[..., a], a, grid.periodic[a]) for a in range(grid.rho.ndim)
        ]
        return replace(grid, rho=-grid._divergence(flux))


def _close(face: Array, axis: int, periodic: bool) -> Array:
    """Nothing passes a wall: the last upper face is one unless the axis is glued."""
    if periodic:
        return face
    index = jnp.arange(face.shape[axis]) == face.shape[axis] - 1
    return jnp.where(jnp.expand_dims(index, [a for a in range(face.ndim) if a != axis]), 0, face)


def _next(u: Array, axis: int, periodic: bool, step: int = 1) -> Array:
    """The neighbour `step` cells up; beyond a wall, the last cell repeats."""
    if periodic:
        return jnp.roll(u, -step, axis)
    index = jnp.clip(jnp.arange(u.shape[axis]) + step, 0, u.shape[axis] - 1)
    return jnp.take(u, index, axis=axis)


def _difference(u: Array, axis: int, periodic: bool) -> Array:
    return _next(u, axis, periodic) - u


def _average(u: Array, axis: int, periodic: bool) -> Array:
    return (_next(u, axis, periodic) + u) / 2


def _central(u: Array, axis: int, periodic: bool) -> Array:
    return (_next(u, axis, periodic) - _next(u, axis, periodic, -1)) / 2


def _transport(rho: Array, velocity: Array, axis: int, periodic: bool) -> Array:
    """The upwind flux ρ v on upper faces, from van Leer's limited slopes."""
    up = _difference(rho, axis, periodic)
    down = rho - _next(rho, axis, periodic, -1)
    product = up * down
    same = product > 0
    slope = jnp.where(same, 2 * product / jnp.where(same, up + down, 1), 0)
    left = rho + slope / 2
    right = _next(rho - slope / 2, axis, periodic)
    face = _average(velocity, axis, periodic)
    return jnp.where(face > 0, face * left, face * right)

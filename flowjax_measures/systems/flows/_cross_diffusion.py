r"""Densities of several species of small particles that exclude each other ([bruna2012a]).

    ∂_t ρ_i = ∇·D_i[∇ρ_i + ρ_i∇V_i + Σ_j v N_j ε_ij^d ( (1 + κ_j/(d−1)) ρ_i∇ρ_j − κ_i/(d−1) ρ_j∇ρ_i
                                                     − (κ_i∇V_i − κ_j∇V_j) ρ_iρ_j/(d−1) )]

with κ_i = D_i/(D_i + D_j), contacts at ε_ij = ½(ε_i + ε_j), v the volume of the unit ball and, for
j = i, one particle less: the limit of `ExcludingParticles` to the first order in the volume that
they take. Where that is near 1 it has no solutions. One species, ∂_t ρ = ∇·D∇(ρ + ½vNε^dρ²), is a
Wasserstein flow, several are none in general. On the line particles never pass.
"""

import math
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._numerics._checks import check_positive
from ..._system import AbstractSystem
from ...measures import GridDensity, Increment
from ...measures._base import replace
from ...measures._grid import _average, _difference

Potential = Callable[[Float[Array, " d"]], FloatScalar]


class CrossDiffusion(AbstractSystem):
    r"""Species by name; the state is a dict of `GridDensity`, the laws of one particle of each.

    **Arguments:**

    - `diameters`: ε_i, a dict by species. `numbers`: N_i, the same.
    - `diffusion`: D_i, a number or a dict. `potentials`: V_i, a dict of functions of a point, in
      units of the temperature; `None` is none, as is a species left out.
    - `dimension`: d ≥ 2 of the particles' space, by default that of the grid; densities on the line
      with `dimension=2` are those in the plane that do not depend on the other coordinate.

    **Raises:** `ValueError` where species differ, or d = 1.

    !!! example

        `law = fm.CrossDiffusion({"red": 0.01, "blue": 0.02}, {"red": 200, "blue": 100})`
        `fm.simulate(law, {"red": red, "blue": blue}, [0.0, 0.05])`
    """

    diameters: Mapping[str, FloatScalar]
    numbers: Mapping[str, FloatScalar]
    diffusion: Mapping[str, FloatScalar]
    potentials: Mapping[str, Potential]
    dimension: int | None = eqx.field(static=True)

    def __init__(self, diameters, numbers, diffusion=1.0, potentials=None, dimension=None):
        names = set(diameters) if isinstance(diameters, Mapping) else set()
        if not isinstance(diffusion, Mapping):
            diffusion = dict.fromkeys(names, diffusion)
        self.diameters = _positive("diameters", diameters, names)
        self.numbers = _positive("numbers", numbers, names)
        self.diffusion = _positive("diffusion", diffusion, names)
        self.potentials = {} if potentials is None else potentials
        if not isinstance(self.potentials, Mapping) or not names >= set(self.potentials):
            raise ValueError(f"`potentials` is {potentials!r}; give a dict, by {sorted(names)}.")
        self.dimension = dimension

    def __call__(self, t, state):
        names = sorted(self.diameters)
        if not isinstance(state, Mapping) or sorted(state) != names:
            raise ValueError(f"Give a dict with a GridDensity of each of the species {names}.")
        if any(not isinstance(mu, GridDensity) for mu in state.values()):
            raise ValueError(
                "CrossDiffusion moves densities; run `ExcludingParticles` from points."
            )
        d = state[names[0]].rho.ndim if self.dimension is None else self.dimension
        if d < 2:
            raise ValueError("`dimension` is 1, where particles never pass; take `Exclusion`.")
        moved = {name: self._drift(name, state, d) for name in names}
        return Increment({name: replace(state[name], rho=moved[name]) for name in state})

    def _drift(self, name: str, state: Mapping[str, GridDensity], d: int) -> Array:
        grid, own = state[name], self.diffusion[name]
        flux = []
        for axis in range(grid.rho.ndim):
            density, slope, push = self._faces(name, state, axis)
            total = slope + density * push
            for other in state:
                number = self.numbers[other] - (1 if other == name else 0)
                contact = (self.diameters[name] + self.diameters[other]) / 2
                volume = math.pi ** (d / 2) / math.gamma(d / 2 + 1) * contact**d * number
                k = own / (own + self.diffusion[other])
                around, theirs, pushed = self._faces(other, state, axis)
                mass = state[other].mass()
                meeting = (1 + (1 - k) / (d - 1)) * density * theirs - k / (d - 1) * around * slope
                meeting = meeting - (k * push - (1 - k) * pushed) * density * around / (d - 1)
                total = total + volume / mass * meeting
            flux.append(-own * total)
        return -grid._divergence(flux)

    def _faces(self, name: str, state: Mapping[str, GridDensity], axis: int) -> tuple[Array, ...]:
        """ρ, ∂ρ and ∂V on the upper faces along an axis."""
        grid = state[name]
        periodic, h = grid.periodic[axis], grid.spacing[axis]
        density = _average(grid.rho, axis, periodic)
        slope = _difference(grid.rho, axis, periodic) / h
        if name not in self.potentials:
            return density, slope, jnp.zeros_like(density)
        points = grid.centres().reshape(-1, grid.rho.ndim)
        values = jnp.asarray(jax.vmap(self.potentials[name])(points)).reshape(grid.rho.shape)
        return density, slope, _difference(values, axis, periodic) / h


def _positive(argument: str, given: Mapping, names: set[str]) -> dict[str, FloatScalar]:
    """A positive number for each species; whole numbers become floats."""
    if not isinstance(given, Mapping) or not names or set(given) != names:
        raise ValueError(f"`{argument}` is {given!r}; give a dict, by the species of `diameters`.")
    for name, value in given.items():
        check_positive(f"{argument}[{name!r}]", value)
    return {name: float(v) if isinstance(v, int) else v for name, v in given.items()}

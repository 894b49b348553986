r"""The thin-film equation with thermal noise, discretised so that it keeps its equilibrium.

    q = −M ∇p + (1/(β|c|)) M″ ∇h + √(2M/(β|c|)) Ẇ,   ∂_t h + ∇·q = 0,   p = −Δh,
    M″(h_0, h_1) = (∂_1 − ∂_0) M / (h_1 − h_0)

on the cells (of volume |c|) and faces of a grid ([gess2023]): M(h_0, h_1) is the mobility of a face
between two cells, consistent with m(h) = M(h, h). It is Langevin's equation of the surface energy
E = ∫ ½|∇h|² in the metric inf ∫ |q|²/M, with the invariant law e^{−βE} on heights ≥ 0 of a given
mass. The term with M″ is ∇·K/β of the metric's inverse K; it is of second order and diverges as the
grid is refined, and without it the equilibrium is wrong.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import FloatScalar, Numbers, Positive
from ..._numerics import checked
from ..._system import AbstractSystem
from ...measures import GridDensity, Increment
from ...measures._base import replace
from ...measures._grid import _difference, _next
from ...measures._grid_noise import FaceNoise


@checked
def entropic_mobility(a: Numbers, b: Numbers) -> Array:
    """1/M = ∫_0^1 ds / m(sb + (1 − s)a) for m = h³, that is M = 2a²b²/(a + b) ([gruen2000]).

    Zero as soon as one side is dry, and ∫ 1/(2h) decreases without noise.

    !!! example

        `fm.entropic_mobility(1.0, 2.0)`
    """
    a, b = jnp.maximum(a, 0), jnp.maximum(b, 0)
    dry = (a == 0) | (b == 0)
    return jnp.where(dry, 0, 2 * (a * b) ** 2 / jnp.where(dry, 1, a + b))


@checked
def flat_mobility(a: Numbers, b: Numbers) -> Array:
    """M = ((a + b)/2)³, of which the correction vanishes; the film may become negative.

    !!! example

        `fm.flat_mobility(1.0, 2.0)`
    """
    return jnp.maximum((a + b) / 2, 0) ** 3


class ThinFilm(AbstractSystem):
    """A liquid film on a grid; the state is a `GridDensity`, its density the height h.

    Explicit steps must resolve the fourth order: dt below about δ⁴ / (8 max M) on cells of side δ
    on the line. `PositiveImplicitEuler` keeps h > 0 at any dt, and `diffrax.Kvaerno5()` chooses its
    steps. In continuous time the entropic mobility keeps h > 0: a film that steps have taken below
    zero by a thousandth of its mean height (with noise, by all of it) is NaN, so that its run
    fails.

    **Arguments:**

    - `beta`: inverse temperature β; `None` is without noise.
    - `mobility`: M, a symmetric function of the heights on both sides of faces, elementwise;
      `entropic_mobility` or `flat_mobility`.
    - `corrected`: whether the term with M″ is there; False is for showing what it does.

    !!! example

        `fm.ThinFilm(beta=1.0)`
    """

    beta: Positive | None = None
    mobility: Callable[[Array, Array], Array] = entropic_mobility
    corrected: bool = eqx.field(static=True, default=True)

    def energy(self, state: GridDensity) -> FloatScalar:
        """E = ∫ ½|∇h|²."""
        h, p = state.rho, self._pressure(state)
        return jnp.sum(h * p) * state.cell / 2

    def _pressure(self, state):
        return state._divergence([-slope for slope in _slopes(state, state.rho)])

    def _film(self, h):
        """h, NaN where it is no film any more."""
        kept = self.mobility is entropic_mobility
        share = 10.0 if not kept else 1e-3 if self.beta is None else 1.0
        return jnp.where(jnp.min(h) < -share * jnp.abs(jnp.mean(h)), jnp.nan, h)

    def __call__(self, t, state):
        if not isinstance(state, GridDensity):
            raise ValueError(
                f"ThinFilm was given {type(state).__name__}; heights live on a GridDensity."
            )
        h = self._film(state.rho)
        flux, mobilities = [], []
        for axis, force in enumerate(_slopes(state, self._pressure(replace(state, rho=h)))):
            sides = h, _next(h, axis, state.periodic[axis])
            ones = jnp.ones_like(h)
            mobility, tilt = jax.jvp(self.mobility, sides, (-ones, ones))
            face = -mobility * force
            if self.beta is not None and self.corrected:
                face = face + tilt / (self.beta * state.cell * state.spacing[axis])
            flux.append(face)
            mobilities.append(mobility)
        drift = replace(state, rho=-state._divergence(flux))
        if self.beta is None:
            return Increment(drift)
        scale = 2 / (self.beta * state.cell)
        return Increment(drift, FaceNoise(state, [scale * m for m in mobilities]))


def _slopes(state: GridDensity, u: Array) -> list[Array]:
    return [
        _difference(u, axis, state.periodic[axis]) / state.spacing[axis] for axis in range(u.ndim)
    ]

r"""Euler's equations of an ideal fluid on the flat torus T², by its vorticity ([arnold1966]).

    ω_t + u·∇ω + β u_y = ν Δω,   u = (−ψ_y, ψ_x),   Δψ = ω

The geodesics of the diffeomorphisms that keep the area, in the metric ∫|u|². Energy ½∫|u|² and
enstrophy ½∫ω² are conserved. β is the magnetic field of a rotating plane: the wave k moves as
e^{i(k·x − ft)} with the frequency f = −β k_x/|k|² (Rossby). With ν it is the equation of Navier and
Stokes, where every solution of Δψ = −k²ψ decays as e^{−νk²t} and is still otherwise.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative, PositiveArray, Scalar
from ..._numerics._waves import Waves, scale
from ..._system import AbstractSystem
from ...measures import Increment

Plane = Float[Array, "n m"]


class Euler2D(AbstractSystem):
    r"""An incompressible fluid on T²; the state is ω at (n, m) equidistant points, an array.

    The first axis is x. Fourier's method without aliasing: waves beyond a third of the points are
    taken off, and energy and enstrophy are kept by the equations in time. ω has mean zero; the
    mean velocity is `mean`.

    In a `shear` the fluid moves on top of U = (S y, 0) and the state is given in coordinates that
    go with it, ω(x + S t y, y): there Kelvin's waves e^{i(k·x)} stand still, ω is constant, and
    the wave vector in space is (k_x, k_y − S t k_x).

    **Arguments:** `viscosity`: ν. `beta`: β. `shear`: S. `mean`: the mean velocity, shape (2,).
    `length`: the sides of the torus, a number or shape (2,).

    !!! example

        ```python
        x, y = jnp.meshgrid(*[2 * jnp.pi * jnp.arange(64.0) / 64] * 2, indexing="ij")
        fluid = fm.Euler2D(viscosity=0.1)
        run = fm.simulate(fluid, -2 * jnp.cos(x) * jnp.cos(y), [0.0, 1.0], dt=0.02)
        run.final   # e^{−0.2} of the start: Taylor's and Green's vortices
        ```
    """

    viscosity: NonNegative = 0.0
    beta: Scalar = 0.0
    shear: Scalar = 0.0
    mean: Float[Array, "2"] | tuple[float, float] = (0.0, 0.0)
    length: PositiveArray = 2 * np.pi

    def _waves(self, omega, t: FloatScalar = 0.0):
        """The waves, with the wave vector as it is in space at time t."""
        if getattr(omega, "ndim", None) != 2:
            raise ValueError(
                f"Euler2D was given {type(omega).__name__} of shape {getattr(omega, 'shape', ())}; "
                "its state is ω at the points of a torus, an array of shape (n, m)."
            )
        waves = Waves(omega.shape, self.length, omega.dtype)
        tilt = jnp.asarray(self.shear, omega.dtype) * jnp.asarray(t, omega.dtype)
        waves.k[1] = waves.k[1] - tilt * waves.k[0]
        return waves

    def _stream(self, waves, omega):
        return scale(-waves.over(waves.square()), waves.forward(omega))

    def stream_function(self, omega: Plane, t: FloatScalar = 0.0) -> Plane:
        """ψ, of mean zero."""
        waves = self._waves(omega, t)
        return waves.back(self._stream(waves, omega))

    def velocity(self, omega: Plane, t: FloatScalar = 0.0) -> Float[Array, "2 n m"]:
        """u = (−ψ_y, ψ_x) and the mean velocity, without the shear."""
        waves = self._waves(omega, t)
        psi = self._stream(waves, omega)
        u = jnp.stack([-waves.back(waves.slope(psi, 1)), waves.back(waves.slope(psi, 0))])
        return u + jnp.asarray(self.mean, omega.dtype)[:, None, None]

    def vorticity(self, u: Float[Array, "2 n m"], t: FloatScalar = 0.0) -> Plane:
        """ω = ∂_x u_y − ∂_y u_x."""
        waves = self._waves(u[0], t)
        x, y = waves.forward(u)
        return waves.back(waves.slope(y, 0) - waves.slope(x, 1))

    def energy(self, omega: Plane, t: FloatScalar = 0.0) -> FloatScalar:
        """½ ∫ |u|² dx dy."""
        return self._area(omega) * jnp.mean(jnp.sum(self.velocity(omega, t) ** 2, 0)) / 2

    def enstrophy(self, omega: Plane) -> FloatScalar:
        """½ ∫ ω² dx dy."""
        return self._area(omega) * jnp.mean(omega**2) / 2

    def _area(self, omega):
        return jnp.prod(jnp.broadcast_to(jnp.asarray(self.length, omega.dtype), (2,)))

    def __call__(self, t, state):
        waves = self._waves(state, t)
        wave, psi = waves.forward(state), self._stream(waves, state)
        u, v = self.velocity(state, t)
        slope = [waves.back(waves.slope(wave, axis)) for axis in range(2)]
        rate = u * slope[0] + v * slope[1]
        planetary = self.beta * waves.back(waves.slope(psi, 0))
        friction = waves.back(scale(self.viscosity * waves.square(), wave))
        return Increment(-waves.back(waves.forward(rate)) - planetary - friction)

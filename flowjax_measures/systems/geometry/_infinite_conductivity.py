r"""The infinite-conductivity equation: an ideal charged fluid in a magnetic field ([khesin1989]).

    u_t + (u·∇)u + u × B = −∇p,   ∇·u = 0

on the flat torus T³, or on T² with B normal to it: electrons before a still ground of ions. It is
the magnetic Euler–Arnold equation of the diffeomorphisms that keep the volume ([maier2025]). The
energy is conserved, and for a constant B on T³ the helicity ∫ u·curl u too. There a helical wave,
curl u = ±|k| u, is an exact solution e^{i(k·x − ft)} of the frequency f = ±B·k/|k|; on T² the
vorticity less B is carried along. With B = −2Ω it is a fluid that rotates.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..._custom_types import FloatScalar, PositiveArray
from ..._numerics._waves import Waves, scale, spread
from ..._system import AbstractSystem
from ...measures import Increment


class InfiniteConductivity(AbstractSystem):
    r"""A charged fluid; the state is u at equidistant points, an array (d, n, …) with d = 2, 3.

    Fourier's method without aliasing, so that the equations in time keep the energy. The rate of u
    is without divergence, as the start must be; see `project`.

    **Arguments:**

    - `field`: B, of shape (3,), or a function of the position of that value; in the plane a number
      or a function of that value. 0 is Euler's fluid.
    - `length`: the sides of the torus, a number or shape (d,).

    !!! example

        ```python
        x = 2 * jnp.pi * jnp.arange(16.0) / 16
        z = jnp.broadcast_to(x, (16, 16, 16))
        u = jnp.stack([jnp.sin(z), jnp.cos(z), 0 * z])   # curl u = u
        law = fm.InfiniteConductivity(jnp.array([0.0, 0.0, 2.0]))
        run = fm.simulate(law, u, [0.0, 1.0], dt=0.02)   # of z − 2t
        ```
    """

    field: ArrayLike | Callable = 0.0
    length: PositiveArray = 2 * np.pi

    def _waves(self, u):
        shape = tuple(getattr(u, "shape", ()))
        if len(shape) not in (3, 4) or len(u) != len(shape) - 1:
            raise ValueError(
                f"InfiniteConductivity was given {type(u).__name__} of shape {shape}; its state is "
                "u at the points of a torus, of shape (2, n, m) or (3, n, m, l)."
            )
        return Waves(shape[1:], self.length, u.dtype)

    def _solenoidal(self, waves, f):
        """The part of the waves of a vector field that has no divergence."""
        along = jnp.sum(jnp.stack([scale(k, c) for k, c in zip(waves.k, f, strict=True)]), 0)
        along = scale(waves.over(waves.square()), along)
        return jnp.stack([c - scale(k, along) for k, c in zip(waves.k, f, strict=True)])

    def project(self, u: Float[Array, "d ..."]) -> Float[Array, "d ..."]:
        """The field without divergence that is nearest to u."""
        waves = self._waves(u)
        return waves.back(self._solenoidal(waves, waves.forward(u)))

    def vorticity(self, u: Float[Array, "d ..."]) -> Float[Array, "..."]:
        """curl u: the shape of u in space, without the first axis in the plane."""
        waves = self._waves(u)
        f = waves.forward(u)
        turn = lambda i, j: waves.back(waves.slope(f[j], i) - waves.slope(f[i], j))  # noqa: E731
        if len(f) == 2:
            return turn(0, 1)
        return jnp.stack([turn(1, 2), turn(2, 0), turn(0, 1)])

    def energy(self, u: Float[Array, "d ..."]) -> FloatScalar:
        """½ ∫ |u|² dx."""
        return self._volume(u) * jnp.mean(jnp.sum(u**2, 0)) / 2

    def helicity(self, u: Float[Array, "3 ..."]) -> FloatScalar:
        """∫ u·curl u dx, in space."""
        return self._volume(u) * jnp.mean(jnp.sum(u * self.vorticity(u), 0))

    def _volume(self, u):
        return jnp.prod(jnp.broadcast_to(jnp.asarray(self.length, u.dtype), (len(u),)))

    def __call__(self, t, state):
        waves = self._waves(state)
        field = spread(self.field, waves.shape, self.length, state.dtype)
        wanted = waves.shape if len(state) == 2 else state.shape
        if field.shape != wanted and field.size > 1:
            raise ValueError(
                f"`field` has values of shape {field.shape[: -len(waves.shape)]}; give a number on "
                "T² and 3 components on T³."
            )
        # (u·∇)u = curl u × u + ∇|u|²/2, of which the pressure takes the gradient.
        u = waves.back(waves.forward(state))
        turn = self.vorticity(state) - field
        if len(u) == 2:
            force = jnp.stack([u[1] * turn, -u[0] * turn])
        else:
            force = jnp.cross(u, turn, axis=0)
        return Increment(waves.back(self._solenoidal(waves, waves.forward(force))))

r"""The magnetic EPDiff equation on the flat torus T^d ([maier2025]).

    m_t + L_u(m + A) = 0,   L_u m = (u·∇)m + (∇u)ᵀm + m ∇·u,   m = (1 − α²Δ)^s u

The geodesics of all diffeomorphisms in the right-invariant Sobolev metric ∫ u·m, and the right-
invariant magnetic field that is the differential of the one-form u ↦ ∫ A·u. Energy ½∫ u·m and, for
constant A, momentum ∫ m are conserved. d = 1, α = s = 1 is the equation of Camassa and Holm with
the drift 2A of `EulerArnold`. Without A the particles of `EPDiff` solve it, in any dimension.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..._custom_types import FloatScalar, NonNegative, PositiveArray
from ..._numerics._waves import Waves, scale, spread
from ..._system import AbstractSystem
from ...measures import Increment


class MagneticEPDiff(AbstractSystem):
    r"""A fluid that may be compressed; the state is u at equidistant points, shape (d, n, …).

    Fourier's method without aliasing: the equations in time keep the energy.

    **Arguments:**

    - `field`: A, of shape (d,), or a function of the position of that value; 0 is EPDiff itself.
    - `alpha`: α, the length of the metric. `order`: s.
    - `length`: the sides of the torus, a number or shape (d,).

    !!! example

        ```python
        x, y = jnp.meshgrid(*[2 * jnp.pi * jnp.arange(32.0) / 32] * 2, indexing="ij")
        law = fm.MagneticEPDiff(field=jnp.array([0.5, 0.0]))
        u = jnp.stack([jnp.cos(x + y), jnp.sin(x)]) / 4
        run = fm.simulate(law, u, [0.0, 1.0], dt=0.01)
        law.energy(run.final)   # as it was
        ```
    """

    field: ArrayLike | Callable = 0.0
    alpha: NonNegative = 1.0
    order: NonNegative = 1.0
    length: PositiveArray = 2 * np.pi

    def _waves(self, u):
        shape: tuple[int, ...] = getattr(u, "shape", ())
        if len(shape) < 2 or shape[0] != len(shape) - 1:
            raise ValueError(
                f"MagneticEPDiff was given {type(u).__name__} of shape {shape}; its state is u at "
                "the points of a torus, of shape (d, n, …) with d axes of points."
            )
        return Waves(shape[1:], self.length, u.dtype)

    def _inertia(self, waves):
        return (1 + self.alpha**2 * waves.square()) ** self.order

    def momentum(self, u: Float[Array, "d ..."]) -> Float[Array, "d ..."]:
        """m."""
        waves = self._waves(u)
        return waves.back(scale(self._inertia(waves), waves.forward(u)))

    def velocity(self, m: Float[Array, "d ..."]) -> Float[Array, "d ..."]:
        """u of the momentum m."""
        waves = self._waves(m)
        return waves.back(scale(1 / self._inertia(waves), waves.forward(m)))

    def energy(self, u: Float[Array, "d ..."]) -> FloatScalar:
        """½ ∫ u·m dx."""
        volume = jnp.prod(jnp.broadcast_to(jnp.asarray(self.length, u.dtype), (len(u),)))
        return volume * jnp.mean(jnp.sum(u * self.momentum(u), 0)) / 2

    def __call__(self, t, state):
        waves = self._waves(state)
        axes = range(len(state))
        field = spread(self.field, waves.shape, self.length, state.dtype)
        if field.ndim == state.ndim and len(field) != len(state):
            raise ValueError(f"`field` has {len(field)} components, u has {len(state)}.")
        wave = waves.forward(state)
        moved = waves.forward(jnp.broadcast_to(field, state.shape))
        moved = moved + scale(self._inertia(waves), wave)
        u, m = waves.back(wave), waves.back(moved)
        du = jnp.stack([waves.back(waves.slope(wave, j)) for j in axes])  # [j, i]: ∂_j u_i
        dm = jnp.stack([waves.back(waves.slope(moved, j)) for j in axes])
        rate = jnp.einsum("j...,ji...->i...", u, dm) + jnp.einsum("ij...,j...->i...", du, m)
        rate = rate + m * jnp.einsum("jj...->...", du)
        return Increment(-waves.back(scale(1 / self._inertia(waves), waves.forward(rate))))

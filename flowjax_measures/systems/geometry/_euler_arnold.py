r"""Euler–Arnold equations on the circle: geodesics of the Virasoro group ([khesin2003]).

    m_t + u m_x + 2 u_x m + c u_x + a u_xxx = 0,   m = α u − β u_xx

for the right-invariant metric ∫ α u² + β u_x²: α = 1, β = 0 is the Korteweg–de Vries equation
u_t + 3 u u_x + a u_xxx = 0, α = β = 1 that of Camassa and Holm, α = 0, β = 1 that of Hunter and
Saxton. The terms with a and c are a magnetic field: they conserve the energy ½ ∫ u m too.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative, Positive, Scalar
from ..._system import AbstractSystem
from ...measures import Increment


class EulerArnold(AbstractSystem):
    """A velocity on the circle; the state is u at n equidistant points, an array.

    Fourier's method in space without aliasing: waves beyond n/3 are taken off, and energy and mean
    momentum are kept by the equations in time. For smooth u.

    **Arguments:** `alpha`, `beta`: the metric. `dispersion`: a. `drift`: c. `length`: the circle's.

    !!! example

        `fm.EulerArnold(alpha=1.0, beta=1.0, length=1.0)`
    """

    alpha: NonNegative = 1.0
    beta: NonNegative = 1.0
    dispersion: Scalar = 0.0
    drift: Scalar = 0.0
    length: Positive = 2 * np.pi

    def _waves(self, u):
        """∂_x, the inertia α − β ∂_x² and its inverse as factors of waves, and which are kept."""
        count = jnp.arange(u.size // 2 + 1, dtype=u.dtype)
        k = 2 * jnp.pi / self.length * count
        inertia = self.alpha + self.beta * k**2
        # Without α the mean has no inertia, and stays.
        inverse = jnp.where(inertia > 0, 1 / jnp.where(inertia > 0, inertia, 1), 0)
        factors = jnp.zeros_like(k), inertia, inverse
        derivative, inertia, inverse = (
            jax.lax.complex(a, b) for a, b in zip(factors, (k, 0 * k, 0 * k), strict=True)
        )
        return derivative, inertia, inverse, 3 * count < u.size

    def momentum(self, u: Float[Array, " n"]) -> Float[Array, " n"]:
        """m."""
        return jnp.fft.irfft(self._waves(u)[1] * jnp.fft.rfft(u), u.size)

    def energy(self, u: Float[Array, " n"]) -> FloatScalar:
        """½ ∫ u m dx."""
        return self.length / 2 * jnp.mean(u * self.momentum(u))

    def __call__(self, t, state):
        if getattr(state, "ndim", None) != 1:
            raise ValueError(
                f"EulerArnold was given {type(state).__name__}; its state is u at n points of the "
                "circle, an array of shape (n,)."
            )
        derivative, inertia, inverse, kept = self._waves(state)
        wave = jnp.where(kept, jnp.fft.rfft(state), 0)
        back = lambda f: jnp.fft.irfft(f, state.size)  # noqa: E731
        u, slope = back(wave), back(derivative * wave)
        m, bend = back(inertia * wave), back(inertia * derivative * wave)
        linear = self.drift * slope + self.dispersion * back(derivative**3 * wave)
        rate = jnp.fft.rfft(u * bend + 2 * slope * m + linear)
        return Increment(-back(jnp.where(kept, inverse * rate, 0)))

r"""The magnetic two-component Hunter–Saxton system on the circle ([lenells2013], [maier2025a]).

    u_txx = −2 u_x u_xx − u u_xxx + ρ ρ_x − s ρ_x,   ρ_t = −(ρu)_x + s u_x

The geodesics (s = 0) of the metric ¼∫ u_x² + ρ² on diffeomorphisms φ with phases τ, for u = φ_t∘φ⁻¹
and ρ = τ_t∘φ⁻¹. The map z = √φ_x e^{iτ/2} takes them to the unit sphere of L²(S¹, C), and the
magnetic field to its Kähler form, so that with c² = ¼∫ u_x² + ρ² and a = ½∫ρ,

    z̈ = −c² z + s(iż + a z),   z = 1 and ż = ½(u_x + iρ) at t = 0,

has a solution in closed form; φ breaks where z vanishes first.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ..._custom_types import FloatScalar, Positive, Scalar
from ..._numerics._waves import Waves, scale
from ..._system import AbstractSystem
from ...measures import Increment


class TwoComponentHunterSaxton(AbstractSystem):
    r"""Two fields on a circle; the state is (u, ρ) at n equidistant points, an array (2, n).

    Fourier's method without aliasing: the equations in time keep the energy. The mean of u stays.

    **Arguments:** `field`: s. `length`: the circle's, 1 by default.

    !!! example

        ```python
        x = jnp.arange(128.0) / 128
        law = fm.TwoComponentHunterSaxton()
        state = jnp.stack([jnp.cos(2 * jnp.pi * x), 1.0 + 0 * x])
        run = fm.simulate(law, state, [0.0, 0.1], dt=0.001)
        slope = jnp.abs(law.geodesic(state, 0.1)) ** 2   # φ_x at t = 0.1
        ```
    """

    field: Scalar = 0.0
    length: Positive = 1.0

    def _waves(self, state):
        shape: tuple[int, ...] = getattr(state, "shape", ())
        if len(shape) != 2 or shape[0] != 2:
            raise ValueError(
                f"TwoComponentHunterSaxton was given {type(state).__name__} of shape "
                f"{shape}; its state is u and ρ at n points of the circle, an array of "
                "shape (2, n)."
            )
        return Waves(state.shape[1:], self.length, state.dtype)

    def energy(self, state: Float[Array, "2 n"]) -> FloatScalar:
        """¼ ∫ u_x² + ρ² dx."""
        slope, rho = self._slope(state), state[1]
        return self.length / 4 * jnp.mean(slope**2 + rho**2)

    def _slope(self, state):
        waves = self._waves(state)
        return waves.back(waves.slope(waves.forward(state[0]), 0))

    def _frequency(self, state):
        """c², a and ν² = s²/4 + c² − sa, on a circle of length 1 in its own coordinate."""
        slope, rho = self._slope(state), state[1]
        square, mean = jnp.mean(slope**2 + rho**2) / 4, jnp.mean(rho) / 2
        return jnp.sqrt(self.field**2 / 4 + square - self.field * mean)

    def geodesic(self, state: Float[Array, "2 n"], t: FloatScalar) -> Complex[Array, " n"]:
        r"""z = √φ_x e^{iτ/2} at time t from `state`, where the points were at the start.

        φ_x = |z|², and u_x + iρ at φ(x) is 2ż/z.
        """
        nu, s = self._frequency(state), jnp.asarray(self.field, state.dtype)
        start = jax.lax.complex(self._slope(state) / 2, (state[1] - s) / 2)
        along = t * jnp.sinc(nu * t / jnp.pi)
        turned = jax.lax.complex(jnp.cos(nu * t), 0 * nu) + scale(along, start)
        return turned * jnp.exp(jax.lax.complex(0 * s, s * t / 2))

    def logarithm(self, z: Complex[Array, " n"]) -> Float[Array, "2 n"]:
        r"""The (u, ρ) whose geodesic is at z at time 1: the shortest from the identity to (φ, τ).

        For s = 0 and z of mean |z|² = 1; u has mean zero. The length is arccos of the mean of Re z.
        """
        if isinstance(self.field, float) and self.field != 0:
            raise ValueError("`field` must be 0: magnetic geodesics between two points are others.")
        angle = jnp.arccos(jnp.mean(jnp.real(z)))
        start = scale(2 / jnp.sinc(angle / jnp.pi), z - jnp.cos(angle).astype(z.dtype))
        slope, rho = jnp.real(start), jnp.imag(start)
        waves = self._waves(jnp.stack([slope, rho]))
        wave = scale(-waves.over(waves.square()), waves.forward(slope))
        return jnp.stack([waves.back(waves.slope(wave, 0)), rho])

    def blow_up_time(self, state: Float[Array, "2 n"]) -> FloatScalar:
        r"""When u_x goes to −∞ first; +inf where ρ is nowhere s.

        ν t = arccot(−u_x/2ν) where ρ = s; between points these are found by straight lines.
        """
        nu, slope = self._frequency(state), self._slope(state)
        gap = state[1] - jnp.asarray(self.field, state.dtype)
        after, steeper = jnp.roll(gap, -1), jnp.roll(slope, -1)
        crossing = (gap * after < 0) | (gap == 0)
        part = jnp.where(crossing & (gap != 0), gap / jnp.where(gap == after, 1, gap - after), 0)
        times = jnp.arctan2(2 * nu, -(slope + part * (steeper - slope))) / nu
        return jnp.min(jnp.where(crossing, times, jnp.inf))

    def __call__(self, t, state):
        waves = self._waves(state)
        both = waves.forward(state)
        slopes = waves.slope(both, 0)
        u, rho = waves.back(both)
        du = waves.back(slopes[0])
        bend = waves.back(waves.slope(slopes[0], 0))
        s = jnp.asarray(self.field, state.dtype)
        rate = -u * bend - du**2 / 2 + rho**2 / 2 - s * rho
        # ∂_x⁻¹ of what has no mean.
        speed = waves.slope(scale(-waves.over(waves.square()), waves.forward(rate)), 0)
        carried = waves.slope(waves.forward(-u * rho) + scale(s, both[0]), 0)
        return Increment(jnp.stack([waves.back(speed), waves.back(carried)]))

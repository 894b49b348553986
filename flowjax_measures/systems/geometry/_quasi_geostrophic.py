r"""The global quasi-geostrophic equation on the sphere S² ([modin2024], [maier2025]).

    q_t + {ψ, q} = 0,   q = ω + 2Ωz,   ω = Δψ − γ z² ψ

with z the sine of the latitude, u = n × ∇ψ and {ψ, q} = u·∇q: a shallow fluid on a planet that
turns at the rate Ω, Lamb's parameter γ measuring how its surface yields (γ = 0, a rigid one, is
Euler's fluid on a rotating sphere). The energy −½∫ψω and all ∫ F(q) are conserved. For γ = 0 a sum
of harmonics of one degree l is an exact solution, a wave of Rossby and Haurwitz: it turns about the
axis at the rate −2Ω/(l(l + 1)), of frequency −2Ωm/(l(l + 1)) at order m, and in a fluid that turns
with Ω′ more, at Ω′ − 2(Ω + Ω′)/(l(l + 1)).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative, Scalar
from ..._numerics._harmonics import Harmonics, sphere_grid as sphere_grid
from ..._system import AbstractSystem
from ...measures import Increment

Field = Float[Array, "n m"]


class QuasiGeostrophic(AbstractSystem):
    r"""A fluid on a planet of radius 1; the state is ω on `sphere_grid(n)`, an array (n, 2n).

    By spherical harmonics without aliasing, of degrees up to (2n − 1)/3: the equations in time keep
    energy and potential enstrophy ½∫q². With γ = 0, ω has mean zero.

    **Arguments:** `rotation`: Ω. `lamb`: γ, Lamb's parameter, the square of 2Ω over
    the speed of waves.

    !!! example

        ```python
        latitude, longitude = fm.sphere_grid(24)
        wave = jnp.cos(4 * longitude) * (jnp.cos(latitude) ** 4 * jnp.sin(latitude))[:, None]
        planet = fm.QuasiGeostrophic(rotation=2.0)
        run = fm.simulate(planet, wave, [0.0, 1.0], dt=0.02)  # of longitude + 4/30, as l = 5
        ```
    """

    rotation: Scalar = 1.0
    lamb: NonNegative = 0.0

    def _harmonics(self, omega):
        if getattr(omega, "ndim", None) != 2:
            raise ValueError(
                f"QuasiGeostrophic was given {type(omega).__name__} of shape "
                f"{getattr(omega, 'shape', ())}; its state is ω on `sphere_grid(n)`, an array of "
                "shape (n, 2n)."
            )
        return Harmonics(omega.shape, omega.dtype)

    def _stream(self, sphere, f):
        """ψ's harmonics of those of ω: a system of equations for each order m."""
        degree, gamma = sphere.degree, jnp.asarray(self.lamb, sphere.p.dtype)
        depth = jnp.einsum("mln,mkn->mlk", sphere.p * (sphere.weights * sphere.z**2), sphere.p)
        # No harmonic has l < m. The constant part of ψ moves nothing without γ; its equation
        # 0 = ∫z²ψ is the limit of that with γ, which makes the energy smooth in γ.
        empty = degree < degree[:, None]
        first = (degree + degree[:, None]) == 0
        rigid = first & (gamma == 0)
        diagonal = -degree * (degree + 1) - jnp.where(empty, 1, 0)
        operator = diagonal[:, :, None] * jnp.eye(len(degree), dtype=depth.dtype)
        operator = operator - jnp.where(rigid, 1, gamma)[:, :, None] * depth
        source = jnp.where(rigid, 0, f)
        return jnp.linalg.solve(operator.astype(f.dtype), source[..., None])[..., 0]

    def stream_function(self, omega: Field) -> Field:
        """ψ; of mean zero for γ = 0."""
        sphere = self._harmonics(omega)
        psi = sphere.back(self._stream(sphere, sphere.forward(omega)))
        return psi - jnp.where(jnp.asarray(self.lamb) == 0, sphere.mean(psi), 0)

    def vorticity(self, psi: Field) -> Field:
        """ω = Δψ − γ z² ψ."""
        sphere = self._harmonics(psi)
        f = sphere.forward(psi)
        laplacian = sphere.back((-sphere.degree * (sphere.degree + 1)).astype(f.dtype) * f)
        bent = sphere.forward(sphere.z[:, None] ** 2 * sphere.back(f))
        return laplacian - self.lamb * sphere.back(bent)

    def velocity(self, omega: Field) -> Float[Array, "2 n m"]:
        """The velocity to the east and to the north."""
        sphere = self._harmonics(omega)
        psi = self._stream(sphere, sphere.forward(omega))
        cosine = jnp.sqrt(1 - sphere.z[:, None] ** 2)
        east = -sphere.back(psi, sphere.slope)
        return jnp.stack([east, sphere.back(sphere.turn(psi))]) / cosine

    def potential_vorticity(self, omega: Field) -> Field:
        """q = ω + 2Ωz."""
        return omega + 2 * self.rotation * self._harmonics(omega).z[:, None]

    def energy(self, omega: Field) -> FloatScalar:
        """−½ ∫ ψω, which is ½ ∫ |u|² + γz²ψ²."""
        sphere = self._harmonics(omega)
        psi = sphere.back(self._stream(sphere, sphere.forward(omega)))
        return -2 * jnp.pi * sphere.mean(psi * omega)

    def enstrophy(self, omega: Field) -> FloatScalar:
        """½ ∫ q²."""
        q = self.potential_vorticity(omega)
        return 2 * jnp.pi * self._harmonics(omega).mean(q**2)

    def __call__(self, t, state):
        sphere = self._harmonics(state)
        f = sphere.forward(state)
        psi = self._stream(sphere, f)
        # {ψ, ω} = ψ_λ ω_z − ψ_z ω_λ; of 2Ωz there is 2Ωψ_λ.
        turn, rise = sphere.back(sphere.turn(psi)), sphere.back(psi, sphere.slope)
        carried = turn * sphere.back(f, sphere.slope) - rise * sphere.back(sphere.turn(f))
        carried = carried / (1 - sphere.z[:, None] ** 2)
        return Increment(-sphere.back(sphere.forward(carried)) - 2 * self.rotation * turn)

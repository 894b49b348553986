r"""Diffusions on the circle with strong attraction of short range ([gerber2025]).

    dX = −∇(W∗μ)(X) dt + √2 dB,   W(x) = γ ℓ w(x/ℓ) on the torus R/LZ,   w(z) = 0 for |z| > s.

Uniform points cluster, clusters coalesce (only finitely many particles do), then exchange mass.
Around the uniform density the mode cos(2πkx/L) grows at the rate

    ψ(k) = −(2πk/L)² (1 + Ŵ(k)/L),   Ŵ(k) = ∫ W(x) cos(2πkx/L) dx,

and N independent points have their first clusters at about log N / 2ψ(k_max).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ..._custom_types import FloatScalar, Positive, Scalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Isotropic


def bump(z: FloatScalar) -> FloatScalar:
    """w(z) = −(1 − (z/s)²)³ for |z| < s, else 0, with s = 0.4: C², w″(0) > 0."""
    return -(jnp.maximum(1 - (z / 0.4) ** 2, 0) ** 3)


class LocalizedAttraction(AbstractMeanField):
    """Points of a torus, a vector of d coordinates, that attract each other within a range.

    **Arguments:**

    - `strength`: γ. `width`: ℓ.
    - `profile`: w, a function of one number, of the distance along each axis, summed over axes.
    - `length`: the period L; use `Particles(..., space=Torus(L))` or a periodic `GridDensity`.

    From particles and from a grid; a `Gaussian` knows no torus.

    !!! example

        `fm.LocalizedAttraction(1.0, 0.5)`
    """

    strength: Scalar
    width: Positive
    profile: Callable[[FloatScalar], FloatScalar] = bump
    length: Positive = 1.0

    def interaction(self, z: FloatScalar) -> FloatScalar:
        """W at a displacement along one axis."""
        z = z - self.length * jnp.round(z / self.length)
        return self.strength * self.width * self.profile(z / self.width)

    def rates(self, t, x, mu):
        pair = lambda y: jax.vmap(jax.grad(self.interaction))(x - y)  # noqa: E731
        return Rates(-mu.mean(pair), Isotropic(jnp.sqrt(jnp.full((), 2.0, x.dtype))))

    def growth_rate(self, k: int) -> FloatScalar:
        """ψ(k), the rate at which the mode k grows out of the uniform density (one axis)."""
        n = 4096
        x = (np.arange(n) + 0.5) / n - 0.5
        wave = jnp.asarray(np.cos(2 * np.pi * k * x))
        values = jax.vmap(self.interaction)(self.length * jnp.asarray(x))
        mean = jnp.mean(values * wave)
        return -((2 * np.pi * k / self.length) ** 2) * (1 + mean)

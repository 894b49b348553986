r"""Kac flows: noise of finite speed, by the telegrapher's equation ([duong2025], [kac1974]).

A point moves at the speed ±c and turns at the rate a in each coordinate; from 0, at |x| < cs,

    u(s, x) = (a/2c) e^{−as} (I_0(ζ) + as I_1(ζ)/ζ),   ζ = a√(s² − x²/c²),

solves ∂_ss u + 2a ∂_s u = c² ∂_xx u; the rest of the mass, e^{−as}, is on the fronts x = ±cs. The
velocity that moves it,

    v(s, x) = a x (I_1(ζ)/ζ) / (I_0(ζ) + as I_1(ζ)/ζ),   |v| ≤ c,   v = ±c on the fronts,

stays bounded as s → 0, where that of a diffusion blows up. As a, c → ∞ with c²/a = σ² it is the
heat equation of σW. Noised data are f_s X_1 + K_{g_s}: their velocity is a tilted mean of v.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Positive, PRNGKey
from ..._system import AbstractMeanField
from ...kernels._base import log_mass
from ...measures import AbstractMeasure, Gaussian, Rates
from ._draws import points
from ._paths import Path
from ._schedules import moving, within
from ._telegraph import Telegraph


class KacFlow(AbstractMeanField):
    r"""The flow from Kac's noise at t = 0 to the data at t = T.

    Exact inside the fronts of the atoms, which hold the share e^{−a g} of a coordinate's mass; a
    point that its front has caught goes with it to the atom.

    **Arguments:**

    - `data`: the law of X_1, by its atoms. `damping`: a. `speed`: c. `horizon`: T.
    - `schedule`: s ↦ (f, g) of the noised data at s = T − t; `None` is (1, s).

    !!! example

        `fm.KacFlow(mu)`
    """

    data: AbstractMeasure
    damping: Positive = 1.0
    speed: Positive = 1.0
    horizon: Positive = 1.0
    schedule: Callable[[FloatScalar], tuple[Any, Any]] | None = None

    @property
    def span(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return 0.0, self.horizon

    @property
    def _law(self):
        return Telegraph(self.damping, self.speed)

    def _coefficients(self, s):
        return (jnp.ones_like(s), s) if self.schedule is None else self.schedule(s)

    def velocity(self, s: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The velocity of the noising flow, forward in s; in a coordinate at most c for f = 1."""
        (f, g), (f_dot, g_dot) = moving(self._coefficients, within(s, x.dtype, jnp.inf))
        law = jax.vmap(lambda z: self._law(g, z)[1])
        pushed = lambda y: f_dot * y + g_dot * law(x - f * y)  # noqa: E731
        return self.data.mean(pushed, self._logits(f, g, x))

    def log_density(self, s: FloatScalar, x: Float[Array, " d"]) -> FloatScalar:
        """log of the density of the noised data, without the mass of the fronts; −∞ past all."""
        f, g = self._coefficients(within(s, x.dtype, jnp.inf))
        return self.data.logmean(self._logits(f, g, x, -jnp.inf)) - log_mass(self.data)

    def score(self, s: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇ of `log_density`, 0 where there is no density."""
        return jax.grad(lambda x: self.log_density(s, x))(x)

    def _logits(self, f, g, x, past=None):
        """log u, of points past the front `past` or else little."""
        if isinstance(self.data, Gaussian) or isinstance(self.data.atoms()[0], tuple):
            raise ValueError("`data` has no atoms; give Particles, such as draws of it.")

        def log(z):
            here = self._law(g, z)[0]
            return here if past is None else jnp.where(self._law.inside(g, z), here, past)

        return lambda y: jnp.sum(jax.vmap(log)(x - f * y))

    def noise(self, key: PRNGKey, n: int, d: int, s: Any = None) -> Float[Array, "n d"]:
        """`n` exact draws of Kac's process at times s, a number or of shape (n, 1).

        `None` is the time g of T, where the flow starts if f is 0.
        """
        s = self._coefficients(jnp.asarray(self.horizon, float))[1] if s is None else s
        return self._law.sample(key, jnp.asarray(s), (n, d))

    def path(self, key: PRNGKey, n: int) -> Path:
        """`n` points at uniform times t = T − s, with the velocity of their noise, run back."""
        times, ends, noise = jax.random.split(key, 3)
        y = points(self.data, ends, n)
        s = self.horizon * jax.random.uniform(times, (n, 1), y.dtype)
        (f, g), (f_dot, g_dot) = moving(self._coefficients, s)
        z = self.noise(noise, n, y.shape[1], g)
        speed = jax.vmap(lambda g, z: jax.vmap(lambda z: self._law(g[0], z)[1])(z))(g, z)
        return Path(self.horizon - s[:, 0], f * y + z, -(f_dot * y + g_dot * speed), z, y)

    def rates(self, t, x, mu):
        return Rates(-self.velocity(self.horizon - t, x))

r"""Blind denoising diffusion: the denoiser is not told the level of the noise ([kadkhodaie2026]).

    dY = (f(Y) − Y) dt + √(2a_t) dB,   f(y) = E[x | x + σz = y],   σ ~ Π,   x ~ data

f(y) = y + ∫ σ²∇ log p_σ(y) Π(dσ | y), a tilted mean over the data and over the levels. Where the
data have few dimensions k in many, d, the posterior of σ is narrow, and Y_t has the law p_{σ_t},

    (σ²)˙ = −2σ² + 2a,   σ_t² = σ_0² e^{−2t} + 2∫_0^t a_s e^{−2(t−s)} ds.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative, PRNGKey
from ..._numerics import draw
from ..._system import AbstractMeanField
from ...kernels._base import log_mass
from ...measures import AbstractMeasure, Particles, Rates
from ...measures._base import concrete
from ...noise._noise import Isotropic
from ._coupling import Coupling
from ._draws import normals, points
from ._paths import Path
from ._posterior import posterior


class BlindDenoising(AbstractMeanField):
    r"""Points under the best denoiser that is blind to σ.

    **Arguments:**

    - `data`: the law of x, by its atoms, a `Gaussian` or a mixture
      `Particles((means, covariances))`.
    - `levels`: the values of σ in the prior, shape (k,), positive.
    - `diffusion`: a, a number or a function of t; a_t = ½σ_0²e^{−t} gives σ_t² = σ_0²e^{−t}.
    - `log_prior`: logarithms of their masses, up to a constant; `None` is equal masses.
    - `learned`: a function of y in place of the best denoiser; `denoising_loss` teaches it.

    !!! example

        `fm.BlindDenoising(mu, jnp.array([0.1, 1.0]), diffusion=1.0)`
    """

    data: AbstractMeasure
    levels: Float[Array, " k"]
    diffusion: NonNegative | Callable[[FloatScalar], FloatScalar]
    log_prior: Float[Array, " k"] | None = None
    learned: Callable[[Array], Array] | None = None

    def __check_init__(self):
        super().__check_init__()
        if concrete(self.levels) and not bool(jnp.all(self.levels > 0)):
            raise ValueError("`levels` are not all positive; leave out what is no noise.")
        if self.log_prior is not None and self.log_prior.shape != self.levels.shape:
            raise ValueError(f"`log_prior` has shape {self.log_prior.shape}; give one a level.")

    def _at(self, sigma, y):
        """E[x | y, σ] and log p_σ(y)."""
        data = self.data
        if isinstance(data, Particles) and isinstance(data.x, tuple):
            tilt = partial(Coupling().tilt, Particles(jnp.zeros((1, y.size), y.dtype)), data)
            return posterior(tilt, None, (0.0, 1.0, sigma**2), y)[1::2]
        logits = lambda x: -jnp.sum((y - x) ** 2) / (2 * sigma**2)  # noqa: E731
        mean, log = data.tilt(lambda x: x, logits)
        return mean, log - y.size * jnp.log(math.sqrt(2 * math.pi) * sigma) - log_mass(data)

    def _by_level(self, y):
        """E[x | y, σ] for each level, and the log posterior of the levels."""
        means, logs = jax.vmap(lambda sigma: self._at(sigma, y))(self.levels)
        return means, jax.nn.log_softmax(logs if self.log_prior is None else logs + self.log_prior)

    def denoiser(self, y: Float[Array, " d"]) -> Float[Array, " d"]:
        """f(y)."""
        if self.learned is not None:
            return self.learned(y)
        means, logs = self._by_level(y)
        return jnp.exp(logs) @ means

    def posterior(self, y: Float[Array, " d"]) -> Float[Array, " k"]:
        """The masses Π(σ | y) of the levels."""
        return jnp.exp(self._by_level(y)[1])

    def log_density(self, sigma: FloatScalar, y: Float[Array, " d"]) -> FloatScalar:
        """log p_σ(y), of the data under noise of a level that is given."""
        return self._at(jnp.asarray(sigma, y.dtype), y)[1]

    def score(self, sigma: FloatScalar, y: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇ log p_σ(y) = (E[x | y, σ] − y)/σ²."""
        sigma = jnp.asarray(sigma, y.dtype)
        return (self._at(sigma, y)[0] - y) / sigma**2

    def path(self, key: PRNGKey, n: int) -> Path:
        """`n` draws x of the data with noise σz, σ of the prior; the draws themselves as ends."""
        ends, level, noise = jax.random.split(key, 3)
        x = points(self.data, ends, n)
        log = jnp.zeros_like(self.levels) if self.log_prior is None else self.log_prior
        sigma = self.levels[draw(level, jax.nn.softmax(log), n)].astype(x.dtype)
        z = normals(noise, x)
        return Path(None, x + sigma[:, None] * z, jnp.zeros_like(x), z, x)

    def _strength(self, t):
        return self.diffusion(t) if callable(self.diffusion) else self.diffusion

    def noise_level(self, t: FloatScalar, start: FloatScalar) -> FloatScalar:
        """σ_t, from σ_0 = `start`."""
        t = jnp.asarray(t)
        nodes, weights = (jnp.asarray(a, t.dtype) for a in np.polynomial.legendre.leggauss(40))
        s = t * (nodes + 1) / 2
        fed = jax.vmap(lambda s: self._strength(s) * jnp.exp(2 * (s - t)))(s)
        return jnp.sqrt(start**2 * jnp.exp(-2 * t) + t * jnp.vdot(weights, fed))

    def rates(self, t, x, mu):
        strength = jnp.asarray(self._strength(t), x.dtype)
        return Rates(self.denoiser(x) - x, Isotropic(jnp.sqrt(2 * strength)))

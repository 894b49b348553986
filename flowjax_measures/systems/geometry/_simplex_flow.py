r"""Gradient flows and Langevin's equation on the probability manifold of a Markov chain ([li2024]).

    dp = −K ∇F dt + T ∇·K dt + √(2T) Σ_{i<j} √θ_ij (e_i − e_j) dW_ij

Without noise and with F the relative entropy it is the master equation ṗ = Qᵀp. With noise the
invariant law is e^{−F/T} dp on the simplex; with `riemannian` it is e^{−F/T} d vol_g, the drift has
T K ∇ log √det g too, and F = 0 is the Brownian motion of the manifold, the Wasserstein noise.

The drift is infinite at the boundary, where Euler's steps end up and stay. By default a run goes
edge by edge: a move √(2Tθ_ij dt) Z (e_i − e_j) is accepted as Metropolis and Hastings do
([roberts1996]), so that p ≥ 0 and the invariant law are kept by steps of any length.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Positive
from ..._numerics import safe_sqrt
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Dense
from ...spaces import ProbabilityManifold


class SimplexFlow(AbstractMeanField):
    """Independent probability vectors p; run it from `Particles(p, space=Simplex())`.

    **Arguments:** `manifold`: the simplex with its mobility. `energy`: F, a function of p; the
    relative entropy by default. `temperature`: T; `None` is without noise. `riemannian`: whether
    the volume of the metric is the reference of the invariant law, or that of p.

    !!! example

        `fm.SimplexFlow(fm.ProbabilityManifold(jnp.ones((3, 3))), lambda p: p @ p)`
    """

    manifold: ProbabilityManifold
    energy: Callable[[Array], FloatScalar] | None = None
    temperature: Positive | None = None
    riemannian: bool = eqx.field(static=True, default=False)

    def rates(self, t, x, mu):
        energy = self.manifold.relative_entropy if self.energy is None else self.energy
        response = self.manifold.response(x)
        descent = -response @ jax.grad(energy)(x)
        if self.temperature is None:
            return Rates(descent)
        spread = jnp.einsum("ijj->i", jax.jacfwd(self.manifold.response)(x))
        if self.riemannian:
            spread = spread + response @ jax.grad(self.manifold.volume)(x)
        i, j = jnp.triu_indices(x.size, 1)
        square = self.manifold.mobility(x)[i, j]
        root = safe_sqrt(square)
        eye = jnp.eye(x.size, dtype=x.dtype)
        scale = jnp.sqrt(jnp.asarray(2 * self.temperature, x.dtype))
        edges = scale * ((eye[i] - eye[j]) * root[:, None]).T
        # As many Brownian motions again, that move nothing, decide what is accepted.
        noise = Dense(jnp.concatenate([edges, jnp.zeros_like(edges)], 1))
        return Rates(descent + self.temperature * spread, noise)

    def log_density(self, p: Float[Array, " n"]) -> FloatScalar:
        """The logarithm of the invariant law's density, up to a constant."""
        if self.temperature is None:
            raise ValueError("`temperature` is None: without noise there is no invariant law.")
        energy = self.manifold.relative_entropy if self.energy is None else self.energy
        value = -jnp.asarray(energy(p)) / self.temperature
        return value + self.manifold.volume(p) if self.riemannian else value

    def transition(self, t, x, dt, increments):
        """One step of a point, of length `dt`, with increments of both Brownian motions."""
        dt = jnp.asarray(dt, x.dtype)
        scale = 2 * jnp.asarray(self.temperature, x.dtype) * dt
        z, u = jnp.split(increments / jnp.sqrt(dt), 2)
        tail = jax.scipy.stats.norm.logcdf(u)

        def along(p, edge):
            i, j, z, tail = edge
            here = scale * self.manifold.mobility(p)[i, j]
            move = jnp.where(here > 0, jnp.sqrt(jnp.where(here > 0, here, 1)), 0) * z
            q = p.at[i].add(move).at[j].add(-move)
            inside = (q[i] > 0) & (q[j] > 0)
            q = jnp.where(inside, q, p)
            there = scale * self.manifold.mobility(q)[i, j]
            safe = jnp.where((here > 0) & (there > 0), there / jnp.where(here > 0, here, 1), 1)
            ratio = self.log_density(q) - self.log_density(p)
            ratio = ratio + z**2 / 2 * (1 - 1 / safe) - jnp.log(safe) / 2
            return jnp.where(inside & (tail < ratio), q, p), None

        return jax.lax.scan(along, x, (*jnp.triu_indices(x.size, 1), z, tail))[0]

r"""The Fleming–Viot process of a population: types mutate, and copy each other at random.

    dp_j = Σ_i p_i Q_ij dt + √γ (√p_j dW_j − p_j Σ_i √p_i dW_i),   cov γ p_i(δ_ij − p_j)

are the shares of n types under mutation Q ([ethier1993]). Without mutation the chance that two
draws differ, E(1 − Σ p²), decays as e^{−γt}. Mutations that don't ask for the parent, Q_ij = q_j,
have the invariant law Dirichlet(2q/γ): the law of shares under the Dirichlet–Ferguson measure, of
which `initial.dirichlet_ferguson` draws.

On a grid types are places, and a law of motion mutates.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import Positive
from ..._numerics import given, key_of, safe_sqrt
from ..._system import AbstractMeanField, AbstractSystem
from ...measures import GridDensity, Increment, Particles, Rates
from ...measures._base import concrete, replace
from ...measures._grid_noise import CopyNoise
from ...noise._noise import Dense


class FlemingViot(AbstractSystem):
    r"""Shares of types, vectors p that are independent of each other; or a density on a grid.

    A step goes half of the mutation, draws from Dirichlet(p/(e^{γh} − 1)), which has the mean and
    the covariance of copying for a time h, and goes the other half: shares stay ≥ 0, and without
    mutation the first two moments are exact. Laws are right to the first order in h.

    **Arguments:**

    - `mutation`: rates Q, a matrix (n, n) with Q_ij ≥ 0 from type i to j ≠ i (its diagonal is not
      looked at); a vector q of rates to each type from all others; from a `GridDensity` a
      mean-field system without shared noise, such as `Langevin(V)`.
    - `resampling`: γ, the rate at which two of a population have one parent.

    **Raises:** `ValueError` naming `mutation` for negative rates, or states of another form.

    !!! example

        `law = fm.FlemingViot(jnp.array([0.5, 1.0, 0.2]), resampling=0.8)`
        `start = fm.Particles(jnp.full((100, 3), 1 / 3), space=fm.Simplex())`
        `fm.simulate(law, start, [0.0, 1.0], dt=0.05, key=key)`
    """

    mutation: Any
    resampling: Positive = 1.0

    def __check_init__(self):
        if isinstance(self.mutation, AbstractMeanField):
            return
        rates = given("mutation", self.mutation)
        if rates.ndim not in (1, 2) or rates.shape != rates.shape[:1] * rates.ndim:
            raise ValueError(f"`mutation` has shape {rates.shape}; give (n,) or (n, n) rates.")
        if concrete(rates):
            q = np.array(rates) * (1 - np.eye(len(rates)) if rates.ndim == 2 else 1)
            if not np.all((q >= 0) & np.isfinite(q)):
                raise ValueError("`mutation` holds a negative rate, NaN or inf; give rates ≥ 0.")

    def generator(self, dtype: Any = None) -> Float[Array, "n n"]:
        """Q with rows that sum to 0."""
        q = jnp.asarray(self.mutation, dtype)
        q = jnp.broadcast_to(q, (q.size, q.size)) if q.ndim == 1 else q
        q = jnp.fill_diagonal(q, 0, inplace=False)
        return q - jnp.diag(q.sum(1))

    def stationary(self) -> Float[Array, " n"]:
        """2q/γ, the parameters of the invariant Dirichlet law; of mutations given as a vector."""
        if isinstance(self.mutation, AbstractMeanField) or jnp.ndim(self.mutation) != 1:
            raise ValueError("`mutation` asks for the parent: the invariant law is not Dirichlet.")
        return 2 * jnp.asarray(self.mutation) / self.resampling

    def __call__(self, t, state):
        if isinstance(self.mutation, AbstractMeanField):
            if not isinstance(state, GridDensity):
                raise ValueError("`mutation` is a law of motion; run it from a GridDensity.")
            moved = self.mutation(t, state)
            if moved.noise is not None:
                raise ValueError("`mutation` has shared noise; FlemingViot wants noise of each.")
            return Increment(moved.drift, CopyNoise(state, self.resampling))
        n = jnp.shape(self.mutation)[0]
        if not isinstance(state, Particles) or getattr(state.x, "shape", ())[1:] != (n,):
            raise ValueError(f"Give `Particles(p, space=Simplex())` of {n} shares p each.")
        q = self.generator(state.x.dtype)

        def law(p):
            root = safe_sqrt(p)
            sigma = jnp.diag(root) - jnp.outer(p, root)
            return Rates(p @ q, Dense(jnp.sqrt(jnp.asarray(self.resampling, p.dtype)) * sigma))

        return state.lift(law)

    def transition(self, t, state, dt, increments):
        """One step of the state."""
        if isinstance(self.mutation, AbstractMeanField):
            half = jnp.asarray(dt / 2, state.rho.dtype)
            rho = state.rho + half * self(t, state).drift.rho
            whole = jnp.sum(rho)
            shares = self._copied(rho.ravel() / whole, dt, increments.ravel())
            state = replace(state, rho=whole * shares.reshape(rho.shape))
            return replace(state, rho=state.rho + half * self(t + dt, state).drift.rho)
        half = jax.scipy.linalg.expm(self.generator(state.x.dtype) * jnp.asarray(dt / 2))
        (own,) = increments
        copied = jax.vmap(lambda p, w: self._copied(p @ half, dt, w) @ half)
        return replace(state, x=copied(state.x, own))

    def _copied(self, p: Float[Array, " n"], dt: Any, w: Float[Array, " n"]) -> Array:
        """Shares that have copied each other for a time; what is drawn hangs on `w` alone."""
        alive = p > 0
        alpha = p / jnp.expm1(jnp.asarray(self.resampling, p.dtype) * jnp.asarray(dt, p.dtype))
        logs = jax.random.loggamma(key_of(w), jnp.where(alive, alpha, 1))
        return jax.nn.softmax(jnp.where(alive, logs, -jnp.inf))

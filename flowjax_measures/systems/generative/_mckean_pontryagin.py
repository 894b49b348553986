r"""The McKean–Pontryagin form of transport with noise ([reich2026]).

The control U of dX = (b + U) dt + √2 Σ^{1/2} dB of least ½ ∫ E⟨U, R⁻¹U⟩ dt between two laws is RP,
where states and costates P = ∇ψ(X) move without noise:

    Ẋ = b + RP + β,   Ṗ = −(Db)ᵀP + D²ψ β − ∇(Σ : D²ψ),   β = −Σ∇ log ρ − ∇·Σ,
    −∂_tψ = ⟨∇ψ, b⟩ + ½⟨∇ψ, R∇ψ⟩ + Σ : D²ψ,

and E ⟨b, P⟩ + ½⟨P, RP⟩ + Σ : D²ψ is constant. Where R and Σ are the covariance C of ρ (the
Kalman–Wasserstein cost), −2K(x − m) with K = E ½PPᵀ + D²ψ, the parts that hold C, joins Ṗ.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...spaces import Phase
from ._phase_closure import Closure, halves, moments

Covariance = Float[Array, "d d"] | Literal["covariance"]
Field = Callable[[FloatScalar, Array], Array]


class McKeanPontryagin(AbstractMeanField):
    r"""States and costates, `Phase(q, p)` or vectors (q, p), of a bridge between two laws.

    With Σ = ½σ²I and R = I it is the bridge of `schroedinger_bridge`, whose drift at time 0 gives
    the costates p = u(0, q). With Σ = θR the equation of ψ is linear for e^{ψ/2θ}; for Σ = R that
    is e^{ψ/2}, which [reich2026] prints as e^ψ. Without `slope` and `score` ρ and ψ are seen
    through moments, ψ quadratic and ρ normal: exact for Gaussian laws and affine b, the ensemble's
    closure for others. The equation of ψ runs back in time: no costates alone tell more than that.

    **Arguments:**

    - `noise`: Σ, shape (d, d), or a function of x; zero is the W₂ geodesic. `control`: R, shape
      (d, d). Both may be "covariance", C(ρ).
    - `drift`: b(x), or `None`.
    - `slope`: ∇ψ(t, x), for a law that isn't Gaussian. `score`: ∇ log ρ(t, x).

    !!! example

        ```python
        bridge = fm.schroedinger_bridge(mu, nu, sigma)
        u = lambda t, x: bridge.rates(t, x, None).velocity
        law = fm.McKeanPontryagin(sigma**2 / 2 * I, I, slope=u, score=bridge.score)
        ```
    """

    noise: Covariance | Callable[[Array], Array]
    control: Covariance
    drift: Callable[[Array], Array] | None = None
    slope: Field | None = None
    score: Field | None = None

    def rates(self, t, x, mu):
        q, p = halves(x)
        (mean, _), spread, mixed = moments(mu)
        closure = Closure(t, mean, spread, mixed, self.slope, self.score)
        noise = self._noise(spread)
        diverges = jnp.trace(jax.jacfwd(noise)(q), axis1=1, axis2=2)
        flow = -(noise(q) @ closure.score(q)) - diverges
        velocity = self._control(spread) @ p + flow
        # D²ψ is symmetric up to round-off: its action is that of the transposed Jacobian.
        force = closure.bend(q).T @ flow - jax.grad(lambda z: self._curl(closure, noise, z))(q)
        if self.drift is not None:
            here, pull = jax.vjp(self.drift, q)
            velocity, force = velocity + here, force - pull(p)[0]
        force = force - 2 * self._spreading(closure, mu) @ (q - mean)
        if isinstance(x, Phase):
            return Rates(Phase(velocity, force))
        return Rates(jnp.concatenate([velocity, force]))

    def hamiltonian(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> FloatScalar:
        """E ⟨b, P⟩ + ½⟨P, RP⟩ + Σ : D²ψ, which the flow keeps; `slope` is asked at time `t`."""
        (mean, _), spread, mixed = moments(mu)
        closure = Closure(t, mean, spread, mixed, self.slope, self.score)
        noise, control = self._noise(spread), self._control(spread)

        def energy(x):
            q, p = halves(x)
            carried = 0.0 if self.drift is None else jnp.vdot(self.drift(q), p)
            return carried + jnp.vdot(p, control @ p) / 2 + self._curl(closure, noise, q)

        return mu.mean(energy)

    def _curl(self, closure: Closure, noise: Callable, q: Array) -> FloatScalar:
        """Σ : D²ψ."""
        return jnp.sum(noise(q) * closure.bend(q))

    def _noise(self, spread) -> Callable[[Array], Any]:
        if isinstance(self.noise, str):
            return lambda q: spread
        return self.noise if callable(self.noise) else lambda q: self.noise

    def _control(self, spread) -> Any:
        return spread if isinstance(self.control, str) else self.control

    def _spreading(self, closure: Closure, mu):
        """K, of the parts of the cost and of the noise that are the covariance."""
        total = jnp.zeros_like(closure.spread)
        if isinstance(self.control, str):
            total = total + mu.mean(lambda x: jnp.outer(halves(x)[1], halves(x)[1])) / 2
        if isinstance(self.noise, str):
            total = total + mu.mean(lambda x: closure.bend(halves(x)[0]))
        return (total + total.T) / 2

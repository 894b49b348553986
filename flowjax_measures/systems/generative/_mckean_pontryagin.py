r"""The McKean–Pontryagin form of transport with noise ([reich2026]).

The control U of dX = U dt + √2 Σ^{1/2} dB of least ½ ∫ E⟨U, R⁻¹U⟩ dt between two laws is U = RP,
where states and costates P = ∇ψ(X) move without noise:

    Ẋ = RP + β,   Ṗ = D²ψ β − ∇(Σ : D²ψ),   β = −Σ∇ log ρ,   −∂_tψ = ½⟨∇ψ, R∇ψ⟩ + Σ : D²ψ,

and E½⟨P, RP⟩ + E Σ : D²ψ is constant. Here ρ is seen through its mean m and covariance C, and ψ is
quadratic, D²ψ = Cov(P, X) C⁻¹: exact for Gaussian laws, the ensemble's closure for others.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...spaces import Phase


class McKeanPontryagin(AbstractMeanField):
    r"""States and costates, `Phase(q, p)` or vectors (q, p), of a bridge between Gaussians.

    With Σ = ½σ²I and R = I it is the bridge of `schroedinger_bridge`, whose drift at time 0 gives
    the costates p = u(0, q). With Σ = θR the equation of ψ is linear for e^{ψ/2θ}; for Σ = R that
    is e^{ψ/2}, which [reich2026] prints as e^ψ.

    **Arguments:** `noise`: Σ, shape (d, d); zero is the W₂ geodesic. `control`: R, shape (d, d).
    """

    noise: Float[Array, "d d"]
    control: Float[Array, "d d"]

    def rates(self, t, x, mu):
        q, p = _halves(x)
        (mean, _), spread, mixed = _moments(mu)
        flow = self.noise @ jnp.linalg.solve(spread, q - mean)
        velocity = self.control @ p + flow
        force = jnp.linalg.solve(spread, mixed.T).T @ flow
        if isinstance(x, Phase):
            return Rates(Phase(velocity, force))
        return Rates(jnp.concatenate([velocity, force]))

    def hamiltonian(self, mu: AbstractMeasure) -> FloatScalar:
        """E½⟨P, RP⟩ + Σ : D²ψ, which the flow keeps."""
        _, spread, mixed = _moments(mu)
        kinetic = mu.mean(lambda x: jnp.vdot(_halves(x)[1], self.control @ _halves(x)[1]) / 2)
        return kinetic + jnp.trace(jnp.linalg.solve(spread, mixed.T) @ self.noise)


def _halves(x):
    if isinstance(x, Phase):
        return x.q, x.p
    if x.ndim != 1 or x.size % 2:
        raise ValueError(f"A point has shape {x.shape}; give `Phase(q, p)`, or vectors (q, p).")
    return x[: x.size // 2], x[x.size // 2 :]


def _moments(mu):
    """The means of X and P, the covariance of X and that of P with X."""
    means = mu.mean(_halves)

    def outer(x):
        q, p = (a - m for a, m in zip(_halves(x), means, strict=True))
        return jnp.outer(q, q), jnp.outer(p, q)

    return means, *mu.mean(outer)

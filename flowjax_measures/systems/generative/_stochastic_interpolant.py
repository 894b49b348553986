r"""Stochastic interpolants: flow matching, diffusion and bridges in one ([albergo2023]).

    I_t = α_t X_0 + β_t X_1 + γ_t Z,   Z ~ N(0, I),   (X_0, X_1) of a coupling of source and target

has a law ρ_t that the ODE dX = b dt and the SDE dX = (b + εs) dt + √(2ε) dW both keep, with

    b(t, x) = E[İ_t | I_t = x],   s(t, x) = ∇ log ρ_t(x).

Where the parts of the coupling are points or Gaussians both are tilted means over the parts: with
r = x − E I_t and K = Cov I_t in a part, which weighs N(r; 0, K),

    s = −⟨K⁻¹ r⟩,   b = α̇⟨E[X_0 | x]⟩ + β̇⟨E[X_1 | x]⟩ − ½(γ²)˙ s.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative, PRNGKey
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Rates
from ...noise._noise import Covariance, Isotropic
from ._coupling import Coupling, coupled
from ._draws import at
from ._paths import Pairing, Path, interpolate, paired
from ._posterior import Posterior, posterior, shared
from ._schedules import LinearSchedule, Schedule, moving, within


class StochasticInterpolant(AbstractMeanField):
    r"""The exact flow or diffusion from a source to a target; points don't interact.

    **Arguments:**

    - `source`, `target`: the laws of X_0 and X_1. A `Gaussian` is taken in closed form; others by
      their atoms, a mixture of Gaussians `Particles((means, covariances), log_w)` by its parts.
    - `schedule`: t in [0, 1] ↦ (α, β, γ²), such as `LinearSchedule()`.
    - `coupling`: `None`, independent; "pairs", the i-th atom of the source with the i-th of the
      target; the masses (n, m) of a plan between the atoms, as `coupling` and `entropic_coupling`
      give them; between two Gaussians the matrix Cov(X_0, X_1).
    - `diffusion`: ε, a number or a function of t; `None` is the ODE.
    - `preconditioner`: C of dX = (b + εCs) dt + √(2εC) dW, for noise that is a function.

    The field towards atoms is singular at t = 1, that away from atoms at t = 0. Steps of Euler end
    there, on the atoms; adaptive steps too in float64, in float32 a little before: t = 0.999.

    !!! example

        `fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), mu)`
    """

    source: AbstractMeasure
    target: AbstractMeasure
    schedule: Schedule
    coupling: Coupling
    diffusion: NonNegative | Callable[[FloatScalar], FloatScalar] | None
    preconditioner: Float[Array, "d d"] | None
    span: ClassVar = (0.0, 1.0)

    def __init__(
        self, source, target, schedule=LinearSchedule(), coupling=None, diffusion=None,
        preconditioner=None,
    ):  # fmt: skip
        self.source, self.target, self.schedule = source, target, schedule
        self.coupling = coupled(source, target, coupling)
        self.diffusion, self.preconditioner = diffusion, preconditioner

    def posterior(self, t: FloatScalar, x: Float[Array, " d"]) -> Posterior:
        """What is known of the ends of an interpolant that is at x at time t."""
        ends = self.source, self.target
        tilt, common = partial(self.coupling.tilt, *ends), shared(*ends, self.coupling.cross)
        return posterior(tilt, common, self.schedule(within(t, x.dtype)), x)

    def velocity(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """b(t, x)."""
        return self.drift(t, x, 0.0)[0]

    def score(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """s(t, x)."""
        return self.posterior(t, x).score

    def log_density(self, t: FloatScalar, x: Float[Array, " d"]) -> FloatScalar:
        """log ρ_t(x)."""
        return self.posterior(t, x).log_density

    def drift(
        self, t: FloatScalar, x: Float[Array, " d"], epsilon: FloatScalar
    ) -> tuple[Float[Array, " d"], Posterior]:
        """b + εs and the posterior that it is made of."""
        _, (alpha_dot, beta_dot, square_dot) = moving(self.schedule, within(t, x.dtype))
        found = self.posterior(t, x)
        ends = alpha_dot * found.source + beta_dot * found.target
        # Where the score is unbounded, at the ends of a bridge, the factor makes the drift finite.
        return ends + (epsilon - square_dot / 2) * found.score, found

    def rates(self, t, x, mu):
        if self.diffusion is None:
            return Rates(self.velocity(t, x))
        epsilon = self.diffusion(t) if callable(self.diffusion) else self.diffusion
        epsilon = jnp.asarray(epsilon, x.dtype)
        if self.preconditioner is None:
            return Rates(self.drift(t, x, epsilon)[0], Isotropic(jnp.sqrt(2 * epsilon)))
        spread = epsilon * self.preconditioner
        velocity, found = self.drift(t, x, 0.0)
        return Rates(velocity + spread @ found.score, Covariance(2 * spread))

    def sample(self, key: PRNGKey, n: int) -> tuple[Array, Array]:
        """`n` pairs (X_0, X_1) of the coupling."""
        return self.coupling.sample(self.source, self.target, key, n)

    def path(self, key: PRNGKey, n: int, pairing: Pairing | None = None) -> Path:
        """`n` points I_t at uniform times, with İ_t; `pairing` as of `flow_matching_loss`."""
        ends, partners, rest = jax.random.split(key, 3)
        x, y = self.sample(ends, n)
        y = y if pairing is None else at(y, paired(pairing, partners, x, y))
        return interpolate(self.schedule, rest, x, y)

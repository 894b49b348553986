r"""Accelerated gradient flows: points with momenta go down an energy of their positions.

    q̇ = p,   ṗ = −∇δF/δμ(q, q_#μ) − α(t) p

In densities the damped Hamiltonian flow of H(ρ, Φ) = ½∫|∇Φ|²ρ + F(ρ), the accelerated information
gradient flow of the Wasserstein metric ([wang2022]); others have other kinetic energies. α = 3/t is
Nesterov's: where F is convex, F − F* = O(1/t²). α = 2√λ with F λ-convex has the rate e^{−√λ t}, at
a minimum e^{−2√λ t} but for powers of t, in place of e^{−2λt}. H falls at the rate α∫|p|². With
noise on p in place of log ρ it is `UnderdampedLangevin`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, NonNegative, Point
from ..._numerics import damped
from ..._system import AbstractMeanField
from ...energies import AbstractEnergy
from ...measures import AbstractMeasure, Gaussian, Particles, Rates
from ...measures._base import replace
from ...metrics import AbstractMetric, FisherRao, Wasserstein, WassersteinFisherRao
from ...spaces import Phase, PhaseSpace
from ...spaces._phase import as_phase
from ._accelerated_metrics import inertia


class AcceleratedFlow(AbstractMeanField):
    r"""The accelerated flow of `Phase(q, p)` points, or of a `Gaussian` of vectors (q, p).

    An energy that diffuses is followed by −∇δF/δμ itself, which needs a density: exact from a
    `Gaussian`, a kernel's from particles (`KL(potential, kernel)`). Deterministic. The solvers
    `ConformalSymplecticEuler`, `ExponentialEuler` know the damping.

    **Arguments:**

    - `energy`: F, of the law of the positions.
    - `damping`: α, a number or a function of time (3/t starts from t = 0 at rest, and is NaN there
      from p ≠ 0).
    - `metric`: `Wasserstein()`, `Preconditioned(C)`, `KalmanWasserstein()`, `Stein(kernel)`; or
      from particles `FisherRao()`, whose momenta are numbers φ, `Phase(q, φ)`, and
      `WassersteinFisherRao(α, β)`, whose momenta are pairs, `Phase(q, (p, φ))`.

    **Raises:** `ValueError` for other metrics, and for points that have no momentum of that form.

    !!! example

        `flow = fm.AcceleratedFlow(fm.KL(V), lambda t: 3 / t, fm.KalmanWasserstein())`
        `at_rest = fm.Gaussian(jnp.concatenate([m, 0 * m]), jax.scipy.linalg.block_diag(S, 0 * S))`
        `fm.simulate(flow, at_rest, [0.0, 5.0])`
    """

    energy: AbstractEnergy
    damping: NonNegative | Callable[[FloatScalar], Any] = 1.0
    metric: AbstractMetric = Wasserstein()

    def rates(self, t, x, mu):
        point, law = _phase(x), positions(mu)
        moved = inertia(self.metric, point, _Phases(mu))
        force = self._force(point.q, law)
        push = jax.tree.map(
            lambda f, v, p: damped(self.damping, t, f + v, p), force, moved.push, point.p
        )
        velocity = Phase(moved.velocity, push)
        return Rates(
            velocity if isinstance(x, Phase) else jnp.concatenate(velocity), growth=moved.growth
        )

    def _force(self, q: Point, law: Any) -> Any:
        if isinstance(self.metric, FisherRao):
            return -self.energy.first_variation(q, law)
        if self.energy.diffusivity(q, law) is None:
            force = self.energy.velocity(q, law)
        else:
            slope = eqx.filter_grad(self.energy.first_variation)(q, law)
            force = jax.tree.map(jnp.negative, slope)
        if isinstance(self.metric, WassersteinFisherRao):
            return force, -self.energy.first_variation(q, law)
        return force

    def hamiltonian(self, mu: AbstractMeasure) -> FloatScalar:
        """K + F, with K = ½ ∫ |p|² dμ in the Wasserstein metric."""
        square = lambda x: inertia(self.metric, _phase(x), _Phases(mu)).square  # noqa: E731
        return mu.mean(square) / 2 + self.energy(positions(mu))


class _Phases(NamedTuple):
    """Means over a measure whose points are read as `Phase(q, p)`."""

    mu: Any

    def mean(self, fn: Callable) -> Any:
        return self.mu.mean(lambda x: fn(_phase(x)))


def _phase(x: Any) -> Phase:
    return as_phase(x, "AcceleratedFlow")


def positions(mu: AbstractMeasure) -> Any:
    """The law of the positions."""
    if isinstance(mu, Gaussian):
        half = mu.m.size // 2
        return replace(mu, m=mu.m[:half], cov=mu.cov[:half, :half])
    if isinstance(mu, Particles):
        space = mu.space.base if isinstance(mu.space, PhaseSpace) else mu.space
        return replace(mu, x=jax.vmap(lambda x: _phase(x).q)(mu.x), space=space)
    raise ValueError(
        f"AcceleratedFlow was given {type(mu).__name__}; give Particles or a Gaussian."
    )

r"""Accelerated gradient flows: points with momenta go down an energy of their positions.

    q̇ = p,   ṗ = −∇δF/δμ(q, q_#μ) − α(t) p

In densities the damped Hamiltonian flow of H(ρ, Φ) = ½∫|∇Φ|²ρ + F(ρ), the accelerated information
gradient flow of the Wasserstein metric ([wang2022]). α = 3/t is Nesterov's: where F is convex,
F − F* = O(1/t²). α = 2√λ with F λ-convex has the rate e^{−√λ t}, near a quadratic minimum
e^{−2√λ t} but for powers of t, in place of e^{−2λt}. H falls at the rate α∫|p|². With noise on p
in place of log ρ it is `UnderdampedLangevin`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._numerics import damped
from ..._system import AbstractMeanField
from ...energies import AbstractEnergy
from ...measures import AbstractMeasure, Gaussian, Particles, Rates
from ...measures._base import replace
from ...spaces import Phase, PhaseSpace


class AcceleratedFlow(AbstractMeanField):
    r"""The accelerated Wasserstein flow of `Phase(q, p)` points, or of a `Gaussian` of (q, p).

    An energy that diffuses is followed by −∇δF/δμ itself, which needs a density: exact from a
    `Gaussian`, a kernel's from particles (`KL(potential, kernel)`). Deterministic. The solvers
    `ConformalSymplecticEuler`, `ExponentialEuler` know the damping.

    **Arguments:** `energy`: F, of the law of the positions. `damping`: α, a number or a function of
    time (3/t starts from t = 0 at rest, and is NaN there from p ≠ 0).
    """

    energy: AbstractEnergy
    damping: FloatScalar | Callable[[FloatScalar], Any] = 1.0

    def rates(self, t, x, mu):
        (q, p), law = _phase(x), positions(mu)
        if self.energy.diffusivity(q, law) is None:
            force = self.energy.velocity(q, law)
        else:
            slope = eqx.filter_grad(self.energy.first_variation)(q, law)
            force = jax.tree.map(jnp.negative, slope)
        push = jax.tree.map(lambda f, v: damped(self.damping, t, f, v), force, p)
        return Rates(Phase(p, push) if isinstance(x, Phase) else jnp.concatenate([p, push]))

    def hamiltonian(self, mu: AbstractMeasure) -> FloatScalar:
        """½ ∫ |p|² dμ + F."""

        def square(x):
            return sum(jnp.vdot(p, p) for p in jax.tree.leaves(_phase(x).p))

        return mu.mean(square) / 2 + self.energy(positions(mu))


def _phase(x: Any) -> Phase:
    """A point as `Phase(q, p)`; points of a Gaussian are vectors (q, p)."""
    if isinstance(x, Phase):
        return x
    if x.ndim != 1 or x.size % 2:
        raise ValueError(
            f"AcceleratedFlow was given points of shape {x.shape}; give `Phase(q, p)`, or vectors "
            "(q, p) of even length."
        )
    return Phase(*jnp.split(x, 2))


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

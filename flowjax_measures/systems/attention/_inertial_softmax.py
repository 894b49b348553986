r"""Softmax attention with momenta, of several heads (Stein, Li and Steidl).

    H = ½ ∫ |p|²/Z(q) dμ − (1/2β) ∬ k dμ dμ,   Z(q) = ∫ k(q, q') μ(dq'),
    q̇ = p/Z(q),   ṗ = ∫ ∂_q k(q, q') [1/β + ½ (|p|²/Z(q)² + |p'|²/Z(q')²)] μ(dq')

for k(q, q') = Σ_h c_h e^{β⟨q, A_h q'⟩}, symmetric as a whole: with every A_h its transpose.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import FloatScalar
from ...measures import Particles
from ...measures._base import replace
from ...spaces import Phase
from ...spaces._phase import as_phase
from ._matrices import times


class Kernel(NamedTuple):
    """The matrices A_h, `None` for the identity, their shares c_h, and β."""

    matrices: tuple[Array | None, ...]
    shares: tuple[float, ...]
    beta: FloatScalar

    def score(self, head: int, x: Phase, y: Phase) -> Array:
        """β ⟨q, A_h q'⟩."""
        return self.beta * jnp.vdot(x.q, times(self.matrices[head], y.q))

    def log_mass(self, logs: list[Array]) -> Array:
        """log Z from the logarithms of the heads' masses."""
        if len(logs) == 1:
            return logs[0]
        masses = jnp.stack(logs)
        return jax.nn.logsumexp(masses, b=jnp.asarray(self.shares, masses.dtype))


def phase(y: Any) -> Phase:
    return as_phase(y, "SympFormer")


def crowded(kernel: Kernel, mu: Any) -> tuple[Any, Callable[[Any], Phase], Callable[[Any], Array]]:
    """The measure, and what tells the phase and log Z of its points; a table for particles."""

    def log_z(y):
        heads = range(len(kernel.matrices))
        masses = [mu.logmean(lambda z, h=h: kernel.score(h, phase(y), phase(z))) for h in heads]
        return kernel.log_mass(masses)

    if not isinstance(mu, Particles):
        return mu, phase, log_z
    known = replace(mu, x=(mu.x, jax.vmap(log_z)(mu.x)))
    return known, lambda y: phase(y[0]), lambda y: y[1]


def motion_of(kernel: Kernel, x: Phase, mu: Any) -> Phase:
    """q̇ and ṗ without damping."""
    mu, phase_of, log_z = crowded(kernel, mu)

    def reads(y):
        at = phase_of(y)
        return at.q, jnp.vdot(at.p, at.p) * jnp.exp(-2 * log_z(y)) * at.q

    heads = range(len(kernel.matrices))
    tilts = [mu.tilt(reads, lambda y, h=h: kernel.score(h, x, phase_of(y))) for h in heads]
    log_here = kernel.log_mass([log for _, log in tilts])
    own = 1 + kernel.beta / 2 * jnp.vdot(x.p, x.p) * jnp.exp(-2 * log_here)
    force = jnp.zeros_like(x.q)
    for ((near, pushed), log), a, share in zip(tilts, kernel.matrices, kernel.shares, strict=True):
        force += share * jnp.exp(log) * times(a, own * near + kernel.beta / 2 * pushed)
    return Phase(x.p * jnp.exp(-log_here), force)


def energy_of(kernel: Kernel, mu: Any) -> Array:
    """H."""
    mu, phase_of, log_z = crowded(kernel, mu)
    square = lambda y: jnp.vdot(phase_of(y).p, phase_of(y).p)  # noqa: E731
    kinetic, log_mass = mu.tilt(square, lambda y: -log_z(y))
    return jnp.exp(log_mass) * kinetic / 2 - jnp.exp(mu.logmean(log_z)) / (2 * kernel.beta)

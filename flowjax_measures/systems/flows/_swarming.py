r"""Swarming: self-propelled points that attract and repel ([dorsogna2006]).

    dq = p dt,   dp = (a − b|p|²) p dt − ∇(U∗μ)(q) dt,
    U(q) = −C_a e^{−|q|/ℓ_a} + C_r e^{−|q|/ℓ_r}

Friction and propulsion settle at the speed √(a/b); strong short repulsion (C = C_r/C_a,
ℓ = ℓ_r/ℓ_a) makes flocks, Cℓ² < 1 makes mills. Deterministic; the force of a point on itself is 0.
"""

import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, NonNegative, Positive, Scalar
from ..._numerics import safe_sqrt
from ..._system import AbstractMeanField
from ...measures import Rates
from ...spaces import Phase


class Swarming(AbstractMeanField):
    """The swarm of points `Phase(q, p)` with Morse's interaction.

    **Arguments:** `propulsion`: a. `friction`: b. `attraction`, `repulsion`: C_a, C_r.
    `attraction_length`, `repulsion_length`: ℓ_a, ℓ_r.

    !!! example

        `fm.simulate(fm.Swarming(), fm.Particles(fm.Phase(mu.x, mu.x)), [0.0, 0.1])`
    """

    propulsion: Scalar = 1.0
    friction: NonNegative = 0.5
    attraction: Scalar = 1.0
    repulsion: Scalar = 2.0
    attraction_length: Positive = 2.0
    repulsion_length: Positive = 0.5

    def interaction(self, q, other) -> FloatScalar:
        """U(q − other)."""
        r = safe_sqrt(jnp.sum((q - other) ** 2))
        pulls = -self.attraction * jnp.exp(-r / self.attraction_length)
        return pulls + self.repulsion * jnp.exp(-r / self.repulsion_length)

    def rates(self, t, x, mu):
        force = mu.mean(lambda y: jax.grad(self.interaction)(x.q, y.q))
        drive = self.propulsion - self.friction * jnp.vdot(x.p, x.p)
        return Rates(Phase(x.p, drive * x.p - force))

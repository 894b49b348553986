r"""Kinetic gradient flows: an energy descended by force alone ([duong2014], [brigati2025]).

    q̇ = p,   ṗ = −∇V(q) − γ ∇_p δF/δμ(q, p)

of a measure μ of positions and velocities. For F = ∫ ½|p|² dμ + ∫ μ log μ / β it is the equation of
Kramers, the law of `UnderdampedLangevin`; V + F falls along it. `KineticJKO` steps it by minimising
movements in kinetic transport.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, NonNegative, Point
from ..._system import AbstractMeanField
from ...energies import AbstractEnergy, Entropy, PotentialEnergy
from ...energies._ground import space_of
from ...measures import AbstractMeasure, Particles, Rates
from ...measures._base import replace
from ...spaces import Euclidean, Phase
from ...spaces._phase import as_phase
from ...spaces._product import is_flat


class KineticFlow(AbstractMeanField):
    """A measure of `Phase(q, p)`, or of vectors (q, p) of even length, as a `Gaussian` has.

    **Arguments:**

    - `potential`: V, of the position.
    - `energy`: F, of a measure of vectors (q, p); `None` is ∫ ½|p|² dμ + ∫ μ log μ, for Gaussians
      and grids. Particles have no entropy: give `KernelEntropy` in its place.
    - `friction`: γ.

    !!! example

        ```python
        law = fm.KineticFlow(lambda q: jnp.sum(q**2) / 2, friction=0.5)
        mu = fm.Gaussian(jnp.array([1.0, 0.0]), jnp.eye(2))
        run = fm.simulate(law, mu, [0.0, 1.0], dt=0.05, solver=fm.KineticJKO(0.05))
        ```
    """

    potential: Callable[[Point], FloatScalar]
    energy: AbstractEnergy | None = None
    friction: NonNegative = 1.0

    def free_energy(self) -> AbstractEnergy:
        """F."""
        if self.energy is not None:
            return self.energy
        half = lambda x: jnp.sum(x[x.size // 2 :] ** 2) / 2  # noqa: E731
        return PotentialEnergy(half) + Entropy()

    def slope(self, x: Point, mu: AbstractMeasure) -> Point:
        """∇ δF/δμ at the vector x = (q, p)."""
        return jax.grad(self.free_energy().first_variation)(x, mu)

    def rates(self, t, x, mu):
        mu = vectors(mu)
        if isinstance(x, Phase):
            x = jnp.concatenate([x.q, x.p])
            q, p = jnp.split(self._velocity(x, mu), 2)
            return Rates(Phase(q, p))
        return Rates(self._velocity(jnp.concatenate(as_phase(x, "KineticFlow")), mu))

    def _velocity(self, x, mu):
        q, p = jnp.split(x, 2)
        _, push = jnp.split(self.slope(x, mu), 2)
        return jnp.concatenate([p, -jax.grad(self.potential)(q) - self.friction * push])


def vectors(mu: AbstractMeasure) -> AbstractMeasure:
    """Particles of phases as particles of vectors (q, p); other measures as they are."""
    if isinstance(mu, Particles) and not is_flat(space_of(mu)):
        raise ValueError(
            f"A kinetic flow was given points on {type(mu.space).__name__}; it knows flat space."
        )
    if isinstance(mu, Particles) and isinstance(mu.x, Phase):
        return replace(mu, x=jnp.concatenate([mu.x.q, mu.x.p], 1), space=Euclidean())
    return mu

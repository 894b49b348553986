r"""Langevin's equation with momentum ([pavliotis2014]).

    dq = p dt,   dp = −∇V(q) dt − γ p dt + √(2γ/β) dW,   invariant law e^{−β(V(q) + |p|²/2)}.

Unit mass, additive noise on the momenta. For V = ½ k q² in one dimension, with ⟨q²⟩, ⟨qp⟩, ⟨p²⟩:

    d⟨q²⟩ = 2⟨qp⟩,   d⟨qp⟩ = ⟨p²⟩ − k⟨q²⟩ − γ⟨qp⟩,   d⟨p²⟩ = −2k⟨qp⟩ − 2γ⟨p²⟩ + 2γ/β.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, NonNegative, Point, Positive, Scalar
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Diagonal
from ...spaces import Phase


class UnderdampedLangevin(AbstractMeanField):
    """Independent points with momenta in a potential, under friction γ.

    Points are `Phase(q, p)`; or vectors (q, p) of even length 2d, the form that a `Gaussian` and a
    `GridDensity` have.

    **Arguments:** `potential`: V, of the position alone. `friction`: γ. `beta`: β.
    """

    potential: Callable[[Point], FloatScalar]
    friction: NonNegative = 1.0
    beta: Positive = 1.0

    @property
    def langevin(self) -> tuple[Scalar, Scalar, Callable]:
        """γ, the temperature 1/β and ∇V: what solvers made for this equation ask for."""
        return self.friction, 1 / self.beta, jax.grad(self.potential)

    def rates(self, t, x, mu):
        if isinstance(x, Phase):
            return self._phase(x)
        if x.ndim != 1 or x.size % 2:
            raise ValueError(f"A point has shape {x.shape}; give `Phase(q, p)`, or vectors (q, p).")
        half = x.size // 2
        law: Any = self._phase(Phase(x[:half], x[half:]))
        join = lambda pair: jnp.concatenate([pair.q, pair.p])  # noqa: E731
        return Rates(join(law.velocity), Diagonal(join(law.noise.scale)))

    def _phase(self, x: Phase) -> Rates:
        force = jax.grad(self.potential)(x.q)
        push = jax.tree.map(lambda f, p: -f - self.friction * p, force, x.p)
        strength = jnp.sqrt(2 * jnp.asarray(self.friction) / self.beta)
        noise = Phase(
            jax.tree.map(jnp.zeros_like, x.q),
            jax.tree.map(lambda p: jnp.full_like(p, 1) * strength, x.p),
        )
        return Rates(Phase(x.p, push), Diagonal(noise))

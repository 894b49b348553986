r"""Langevin's equation with momentum ([pavliotis2014]).

    dq = p dt,   dp = −∇V(q) dt − γ p dt + √(2γ/β) dW,   invariant law e^{−β(V(q) + |p|²/2)}.

Unit mass, additive noise on the momenta. For V = ½ k q² in one dimension, with ⟨q²⟩, ⟨qp⟩, ⟨p²⟩:

    d⟨q²⟩ = 2⟨qp⟩,   d⟨qp⟩ = ⟨p²⟩ − k⟨q²⟩ − γ⟨qp⟩,   d⟨p²⟩ = −2k⟨qp⟩ − 2γ⟨p²⟩ + 2γ/β.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point, Positive, Scalar
from ..._numerics import square_root
from ..._system import AbstractMeanField
from ...measures import Rates
from ...measures._base import concrete
from ...noise._noise import Dense, Diagonal
from ...spaces import Phase
from ...spaces._phase import as_phase


class UnderdampedLangevin(AbstractMeanField):
    """Independent points with momenta in a potential, under friction γ.

    Points are `Phase(q, p)`; or vectors (q, p) of even length 2d, the form that a `Gaussian` and a
    `GridDensity` have.

    **Arguments:**

    - `potential`: V, of the position alone. `beta`: β.
    - `friction`: γ ≥ 0; or a matrix Γ (d, d), dp = −∇V dt − Γp dt + ((Γ + Γᵀ)/β)^{1/2} dW, whose
      symmetric part is positive semidefinite. What is skew turns momenta, as a magnetic field does.

    **Raises:** `ValueError` naming `friction` where it is negative or no square matrix.

    !!! example

        `fm.UnderdampedLangevin(V, jnp.array([[2.0, 0.5], [0.5, 1.0]]), beta=2.0)`
    """

    potential: Callable[[Point], FloatScalar]
    friction: FloatScalar | Float[Array, "..."] = 1.0
    beta: Positive = 1.0

    def __check_init__(self):
        shape = jnp.shape(self.friction)
        if shape != shape[:1] * 2 and shape != ():
            raise ValueError(f"`friction` has shape {shape}; give a number or a matrix (d, d).")
        if concrete(self.friction):
            matrix = np.atleast_2d(np.asarray(self.friction, float))
            lowest = np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]
            if lowest < -1e-6 * np.abs(matrix).max():
                raise ValueError("`friction` is negative in some direction; give γ ≥ 0.")

    @property
    def langevin(self) -> tuple[Scalar, Scalar, Callable]:
        """γ, the temperature 1/β and ∇V: what solvers made for this equation ask for."""
        if jnp.ndim(self.friction):
            raise ValueError(
                "`friction` is a matrix, and this solver knows one number; leave `solver` out."
            )
        return self.friction, 1 / self.beta, jax.grad(self.potential)

    def rates(self, t, x, mu):
        if isinstance(x, Phase):
            return self._phase(x)
        law: Any = self._phase(as_phase(x, "UnderdampedLangevin"))
        noise = law.noise
        if isinstance(noise, Diagonal):
            noise = Diagonal(jnp.concatenate([noise.scale.q, noise.scale.p]))
        return Rates(jnp.concatenate([law.velocity.q, law.velocity.p]), noise)

    def _phase(self, x: Phase) -> Rates:
        force = jax.grad(self.potential)(x.q)
        if jnp.ndim(self.friction):
            matrix = jnp.asarray(self.friction, x.p.dtype)
            root = square_root((matrix + matrix.T) / self.beta)
            noise = Dense(jnp.concatenate([jnp.zeros_like(root), root]))
            return Rates(Phase(x.p, -force - matrix @ x.p), noise)
        push = jax.tree.map(lambda f, p: -f - self.friction * p, force, x.p)
        strength = jnp.sqrt(2 * jnp.asarray(self.friction) / self.beta)
        noise = Phase(
            jax.tree.map(jnp.zeros_like, x.q),
            jax.tree.map(lambda p: jnp.full_like(p, 1) * strength, x.p),
        )
        return Rates(Phase(x.p, push), Diagonal(noise))

r"""GENERIC: reversible and irreversible motion together ([grmela1997], [duong2013]).

    ẋ = L(x) ∇E(x) + M(x) ∇S(x),   L = −Lᵀ,   M = Mᵀ ≥ 0,   L ∇S = 0,   M ∇E = 0

The degeneracies keep the energy E and let the entropy S only grow. `DiscreteGradient` steps it so
that both hold for steps of any length.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractSystem
from ...measures import Increment

Operator = Float[Array, "d d"] | Callable[[Any], Float[Array, "d d"]]


class Degeneracies(NamedTuple):
    """What must vanish: the norms of L∇S and M∇E, of L + Lᵀ and M − Mᵀ, and of M's part below 0.

    !!! example

        `fm.Degeneracies(0.0, 0.0, 0.0, 0.0, 0.0).skew`
    """

    reversible: Float[Array, ""]
    irreversible: Float[Array, ""]
    skew: Float[Array, ""]
    symmetric: Float[Array, ""]
    negative: Float[Array, ""]


class Generic(AbstractSystem):
    """A state of any arrays, ravelled to d numbers for the operators.

    **Arguments:**

    - `energy`: E, a function of the state. `entropy`: S.
    - `poisson`: L, a matrix (d, d) or a function of the state with such values.
    - `friction`: M.

    A run does not look whether the degeneracies hold: `degeneracies(state)` tells, and `check`
    raises.

    !!! example

        ```python
        # A particle in a bath of heat capacity one: state (q, p, s), temperature e^s.
        energy = lambda x: x[1] ** 2 / 2 + x[0] ** 2 / 2 + jnp.exp(x[2])
        turn = jnp.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])

        def friction(x):
            v = jnp.stack([jnp.zeros(()), jnp.ones(()), -x[1] / jnp.exp(x[2])])
            return jnp.exp(x[2]) * jnp.outer(v, v)

        law = fm.Generic(energy, lambda x: x[2], turn, friction)
        run = fm.simulate(
            law, jnp.array([1.0, 0.0, 0.0]), [0.0, 5.0], dt=0.1, solver=fm.DiscreteGradient()
        )
        ```
    """

    energy: Callable[[Any], FloatScalar]
    entropy: Callable[[Any], FloatScalar]
    poisson: Operator
    friction: Operator

    def operators(self, state: Any) -> tuple[Float[Array, "d d"], Float[Array, "d d"]]:
        """L and M."""
        flat = ravel_pytree(state)[0]
        found = []
        for name, given in (("poisson", self.poisson), ("friction", self.friction)):
            matrix = jnp.asarray(given(state) if callable(given) else given, flat.dtype)
            if matrix.shape != (flat.size, flat.size):
                raise ValueError(
                    f"`{name}` has shape {matrix.shape} for a state of {flat.size} numbers."
                )
            found.append(matrix)
        return found[0], found[1]

    def slopes(self, state: Any) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """∇E and ∇S."""
        functions = self.energy, self.entropy
        return tuple(ravel_pytree(jax.grad(f)(state))[0] for f in functions)  # pyright: ignore

    def degeneracies(self, state: Any) -> Degeneracies:
        """How far the conditions of GENERIC are from holding at a state."""
        poisson, friction = self.operators(state)
        slope, rise = self.slopes(state)
        least = jnp.linalg.eigvalsh((friction + friction.T) / 2)[0]
        norm = jnp.linalg.norm
        return Degeneracies(
            norm(poisson @ rise),
            norm(friction @ slope),
            norm(poisson + poisson.T),
            norm(friction - friction.T),
            jnp.maximum(-least, 0),
        )

    def check(self, state: Any, tolerance: float = 1e-6) -> None:
        """Raises a `ValueError` where a condition fails at `state` by more than `tolerance`."""
        for name, size in self.degeneracies(state)._asdict().items():
            if not size <= tolerance:
                what = "`poisson`" if name in ("reversible", "skew") else "`friction`"
                raise ValueError(f"{what} misses the condition {name!r} of GENERIC by {size:.3g}.")

    def __call__(self, t, state):
        poisson, friction = self.operators(state)
        slope, rise = self.slopes(state)
        return Increment(ravel_pytree(state)[1](poisson @ slope + friction @ rise))

r"""Flows and diffusions of one law ([song2021], [albergo2023]).

    dX = b(t, X) dt   and   dX = (b + εs)(t, X) dt + √(2ε) dW

have the same laws ρ_t where s = ∇ log ρ_t. A learned s that is not the score of the law that b
moves opens a gap between the two, which the residual of the Fokker–Planck equation
∂_t s + ∇(∇·b + ⟨b, s⟩) = 0 bounds ([deveney2025]).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, NonNegative
from ..._numerics import checked
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Isotropic

Field = Callable[[FloatScalar, Array], Array]


class ProbabilityFlow(AbstractMeanField):
    """A flow, or with `diffusion` a diffusion, by fields that are given or learned.

    **Arguments:** `velocity`: b(t, x), any function or module. `score`: s(t, x), which noise needs.
    `diffusion`: ε, a number or a function of t; `None` is the ODE.

    !!! example

        `fm.ProbabilityFlow(lambda t, x: -x)`
    """

    velocity: Field
    score: Field | None = None
    diffusion: NonNegative | Callable[[FloatScalar], FloatScalar] | None = None

    def __check_init__(self):
        if self.diffusion is not None and self.score is None:
            raise ValueError("`score` is None; a diffusion needs it, give ε = `diffusion` = None.")

    def rates(self, t, x, mu):
        if self.diffusion is None or self.score is None:
            return Rates(self.velocity(t, x))
        epsilon = self.diffusion(t) if callable(self.diffusion) else self.diffusion
        epsilon = jnp.asarray(epsilon, x.dtype)
        return Rates(
            self.velocity(t, x) + epsilon * self.score(t, x), Isotropic(jnp.sqrt(2 * epsilon))
        )


@checked
def fokker_planck_residual(
    velocity: Field, score: Field, t: FloatScalar, x: Float[Array, " d"]
) -> Float[Array, " d"]:
    """∂_t s + ∇(∇·b + ⟨b, s⟩) at (t, x): zero where s is the score of the law that b moves.

    !!! example

        `fm.fokker_planck_residual(lambda t, x: -x, lambda t, x: -x, 0.5, jnp.ones(2))`
    """
    t = jnp.asarray(t, x.dtype)

    def outflow(x):
        divergence = jnp.trace(jax.jacfwd(lambda z: velocity(t, z))(x))
        return divergence + jnp.vdot(velocity(t, x), score(t, x))

    return jax.jvp(lambda s: score(s, x), (t,), (jnp.ones_like(t),))[1] + jax.grad(outflow)(x)

r"""Interacting diffusions and their mean-field limit ([sznitman1991]).

    dX = −∇V(X) dt − ∫ ∇_x K(X, y) μ(dy) dt + √(2/β) dW

From particles the interacting SDE, from a grid the McKean–Vlasov equation
∂_t ρ = ∇·(ρ ∇(V + K∗ρ)) + β⁻¹ Δρ, from a Gaussian its closure. Additive noise.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, Point, Positive
from ..._system import AbstractMeanField
from ...energies._ground import on_measure
from ...measures import Rates
from ...noise._noise import Isotropic, floating


class McKeanVlasov(AbstractMeanField):
    r"""Points in a potential, interacting through a kernel, at inverse temperature β.

    **Arguments:**

    - `potential`: function V of one point; `None` is no potential.
    - `kernel`: function K of two points (x, y); `None` is no interaction. All particles count,
      the point itself included.
    - `beta`: inverse temperature; `None` is zero temperature, without noise.

    !!! example

        The Ornstein–Uhlenbeck process is `McKeanVlasov(Quadratic(theta), beta=beta)`, quadratic
        interaction `McKeanVlasov(kernel=QuadraticKernel(kappa), beta=beta)`.
    """

    potential: Callable[[Point], FloatScalar] | None = None
    kernel: Callable[[Point, Point], FloatScalar] | None = None
    beta: Positive | None = 1.0

    def rates(self, t, x, mu):
        velocity = jax.tree.map(jnp.zeros_like, floating(x))
        if self.potential is not None:
            force = eqx.filter_grad(self.potential)(x)
            velocity = jax.tree.map(jnp.subtract, velocity, force)
        if self.kernel is not None:
            push = eqx.filter_grad(on_measure(self.kernel, mu))
            force = mu.mean(lambda y: push(x, y))
            velocity = jax.tree.map(jnp.subtract, velocity, force)
        noise = None if self.beta is None else Isotropic(jnp.sqrt(2 / self.beta))
        return Rates(velocity, noise)

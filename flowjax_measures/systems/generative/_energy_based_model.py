r"""Energy-based models learned by weighted walkers ([carbone2023]).

    θ̇ = −η (E_data ∇_θU − ⟨∇_θU⟩_w),   dX = −∇U_θ(X) dt + √2 dW,   d log w = −⟨θ̇, ∇_θU_θ(X)⟩ dt

is the gradient flow of the cross entropy E_data U_θ + log Z_θ. By Jarzynski's equality the weighted
walkers have the law e^{−U_θ}/Z_θ at every time, though their points lag behind, and their mass is
Z_θ/Z_{θ_0}: the gradient has no bias, where walkers without weights (contrastive divergence) do.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point, Positive
from ..._numerics import checked
from ..._system import AbstractMeanField, AbstractSystem, Species
from ...kernels._base import log_mass
from ...measures import AbstractMeasure, Particles, Rates
from ...noise._noise import Isotropic


class EnergyBasedModel(AbstractSystem):
    r"""Parameters and walkers, a dict {"parameters": one point θ, "walkers": points with weights}.

    Walkers start from e^{−U_θ}/Z_θ of the first θ, with weights. `learn_energy` trains networks so,
    by steps of an optimiser and with weights that are exact for steps of any length.

    **Arguments:** `energy`: U(θ, x), θ a vector. `data`: the law to learn. `rate`: η.

    !!! example

        ```python
        state = {"parameters": fm.Particles(theta[None]), "walkers": fm.Particles(x, zeros)}
        run = fm.simulate(fm.EnergyBasedModel(U, data), state, [0.0, 1.0], dt=0.01, key=key)
        ```
    """

    energy: Callable[[Float[Array, " k"], Point], FloatScalar]
    data: AbstractMeasure
    rate: Positive = 1.0

    def __call__(self, t, state):
        force = self.gradient(state)
        return Species({"parameters": _Parameters(force), "walkers": _Walkers(self.energy, force)})(
            t, state
        )

    def gradient(self, state: dict[str, Any]) -> Float[Array, " k"]:
        """θ̇ = −η ∇_θ (E_data U_θ + log Z_θ), by the walkers."""
        theta = state["parameters"].mean()
        slope = lambda mu: mu.mean(lambda x: jax.grad(self.energy)(theta, x))  # noqa: E731
        return self.rate * (slope(state["walkers"]) - slope(self.data))

    def log_z(self, state: dict[str, Any]) -> FloatScalar:
        """log(Z_θ/Z_{θ_0}), by the mass of walkers that began with mass one."""
        return log_mass(state["walkers"])


class _Parameters(AbstractMeanField):
    velocity: Float[Array, " k"]

    def rates(self, t, x, mu):
        return Rates(self.velocity)


class _Walkers(AbstractMeanField):
    energy: Callable[..., Any]
    velocity: Float[Array, " k"]

    def rates(self, t, x, mu):
        theta = mu["parameters"].mean()
        work = jnp.vdot(self.velocity, jax.grad(self.energy)(theta, x))
        force = -jax.grad(self.energy, 1)(theta, x)
        return Rates(force, Isotropic(jnp.sqrt(jnp.asarray(2, x.dtype))), -work)


@checked
def jarzynski_loss(
    energy: Callable[[Point], FloatScalar], data: AbstractMeasure, walkers: Particles
) -> FloatScalar:
    r"""E_data U − ⟨U⟩_w; its gradient is that of the cross entropy E_data U + log Z.

    **Arguments:** `energy`: U(x), a module that is differentiated. `data`: the law to learn.
    `walkers`: weighted points with the law e^{−U}/Z, whose weights are constants here.

    !!! example

        `equinox.filter_grad(fm.jarzynski_loss)(energy, data, walkers)`
    """
    walkers = jax.lax.stop_gradient(walkers)
    values = data.mean(energy), walkers.mean(energy)
    if any(jnp.shape(value) != () for value in values):
        raise ValueError(
            f"`energy` returned values of shape {jnp.shape(values[0])}; return one number."
        )
    return values[0] - values[1]

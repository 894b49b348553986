r"""Games of measures: each species goes down a cost of its own, which the others change.

    ∂_t ρ_i = ∇·(ρ_i ∇ δ_{ρ_i}F_i(ρ_1, …, ρ_n)),   i = 1, …, n

Where the costs are λ-monotone with λ > 0 it converges to the one Nash equilibrium at the rate
e^{−λt} in W₂ ([conger2025]). The whole is no gradient flow. In the metric `FisherRao()` with a `KL`
in each cost it is the flow of entropic games ([lascu2024]), and of policies of a decision process.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField, AbstractSystem, Species
from ...energies import AbstractEnergy
from ...measures import Particles
from ...measures._base import replace
from ...metrics import AbstractMetric, Wasserstein

Cost = Callable[[Mapping[str, Any]], AbstractEnergy]
"""What a species pays, as an energy of its own measure, given the dict of all measures."""


class Game(AbstractSystem):
    """Species that each descend a cost, each in a metric.

    The state is a dict of measures of any types: a single decision is `Particles` of one point.

    **Arguments:** `costs`: dict from a species' name to its cost, a function of the dict of all
    measures with values in energies. `metric`: what turns an energy into a flow.

    !!! example

        The min–max game of a payoff f: `Game({"x": lambda mu: PotentialEnergy(lambda x:
        mu["y"].mean(lambda y: f(x, y))), "y": lambda mu: PotentialEnergy(lambda y:
        -mu["x"].mean(lambda x: f(x, y)))})`.
    """

    costs: Mapping[str, Cost]
    metric: AbstractMetric | Mapping[str, AbstractMetric] = Wasserstein()

    def __check_init__(self):
        for name, metric in self._metrics().items():
            if not isinstance(metric, AbstractMetric):
                raise ValueError(f"`metric` of {name!r} is {metric!r}; give a Metric, or a dict.")

    def _metrics(self) -> dict[str, Any]:
        if not isinstance(self.metric, Mapping):
            return dict.fromkeys(self.costs, self.metric)
        if set(self.metric) != set(self.costs):
            raise ValueError(
                f"`metric` is of the species {sorted(self.metric)}, `costs` of "
                f"{sorted(self.costs)}; give one metric, or one for each of them."
            )
        return dict(self.metric)

    def __call__(self, t, state):
        metrics = self._metrics()
        players = {name: _Player(cost, name, metrics[name]) for name, cost in self.costs.items()}
        return Species(players)(t, state)

    def values(self, state: Mapping[str, Any]) -> dict[str, FloatScalar]:
        """What each species pays."""
        return {name: cost(state)(state[name]) for name, cost in self.costs.items()}

    def monotonicity(self, state: Mapping[str, Any]) -> FloatScalar:
        r"""The largest λ with Σ_i ⟨g_i(μ) − g_i(ν), x_i − y_i⟩ ≥ λ Σ_i |x_i − y_i|² near a state.

        g are the gradients ∇δ_{ρ_i}F_i at the atoms, |·| is weighed with their masses: the least
        eigenvalue of the symmetric part of the flow's Jacobian, with a minus. In a quadratic game
        of points it is the constant of the whole game, and the rate in its Wasserstein flow.

        **Arguments:** `state`: a dict of `Particles`, of moderate number.
        """
        names = sorted(state)
        if any(not isinstance(mu, Particles) for mu in state.values()):
            raise ValueError("`state` holds a measure without atoms; give a dict of Particles.")
        flat, unravel = ravel_pytree([state[name].x for name in names])

        def velocity(flat):
            moved = {n: replace(state[n], x=x) for n, x in zip(names, unravel(flat), strict=True)}
            drift = self(0.0, moved).drift
            return ravel_pytree([drift[name].x for name in names])[0]

        spread = lambda mu: jax.tree.map(lambda x: _over_points(mu, x), mu.x)  # noqa: E731
        root = jnp.sqrt(ravel_pytree([spread(state[name]) for name in names])[0])
        jacobian = -root[:, None] * jax.jacfwd(velocity)(flat) / root
        return jnp.linalg.eigvalsh((jacobian + jacobian.T) / 2)[0]


def _over_points(mu: Particles, x: Array) -> Array:
    """The mass of each atom at all of its numbers."""
    masses = jnp.exp(mu.log_weights()).astype(x.dtype)
    return jnp.broadcast_to(masses.reshape(-1, *(1,) * (x.ndim - 1)), x.shape)


class _Player(AbstractMeanField):
    cost: Cost
    name: str = eqx.field(static=True)
    metric: AbstractMetric

    def rates(self, t, x, mu):
        return self.metric.rates(self.cost(mu), x, mu[self.name])

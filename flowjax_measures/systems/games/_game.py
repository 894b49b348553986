r"""Games of measures: each species goes down a cost of its own, which the others change.

    ∂_t ρ_i = ∇·(ρ_i ∇ δ_{ρ_i}F_i(ρ_1, …, ρ_n)),   i = 1, …, n

Where the costs are λ-monotone with λ > 0 it converges to the one Nash equilibrium at the rate
e^{−λt} in W₂ ([conger2025]). The whole is no gradient flow. In the metric `FisherRao()` with a `KL`
in each cost it is the flow of entropic games ([lascu2024]), and of policies of a decision process.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField, AbstractSystem, Species
from ...energies import AbstractEnergy
from ...metrics import AbstractMetric, Wasserstein

Cost = Callable[[Mapping[str, Any]], AbstractEnergy]
"""What a species pays, as an energy of its own measure, given the dict of all measures."""


class Game(AbstractSystem):
    """Species that each descend a cost, in one metric.

    The state is a dict of measures of any types: a single decision is `Particles` of one point.

    **Arguments:** `costs`: dict from a species' name to its cost, a function of the dict of all
    measures with values in energies. `metric`: what turns an energy into a flow.

    !!! example

        The min–max game of a payoff f: `Game({"x": lambda mu: PotentialEnergy(lambda x:
        mu["y"].mean(lambda y: f(x, y))), "y": lambda mu: PotentialEnergy(lambda y:
        -mu["x"].mean(lambda x: f(x, y)))})`.
    """

    costs: Mapping[str, Cost]
    metric: AbstractMetric = Wasserstein()

    def __call__(self, t, state):
        players = {name: _Player(cost, name, self.metric) for name, cost in self.costs.items()}
        return Species(players)(t, state)

    def values(self, state: Mapping[str, Any]) -> dict[str, FloatScalar]:
        """What each species pays."""
        return {name: cost(state)(state[name]) for name, cost in self.costs.items()}


class _Player(AbstractMeanField):
    cost: Cost
    name: str = eqx.field(static=True)
    metric: AbstractMetric

    def rates(self, t, x, mu):
        return self.metric.rates(self.cost(mu), x, mu[self.name])

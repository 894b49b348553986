r"""Gradient flows: the steepest descent of an energy in a metric on measures ([jko1998]).

∂_t μ = −grad F(μ); in the Wasserstein metric ∂_t μ = ∇·(μ ∇ δF/δμ).
"""

from ..._system import AbstractMeanField
from ...energies import AbstractEnergy
from ...metrics import AbstractMetric, Wasserstein


class GradientFlow(AbstractMeanField):
    """The gradient flow of `energy` in `metric`; the energy never increases.

    **Arguments:** `energy`: a functional of a measure; `metric`: the geometry, `Wasserstein()` by
    default.

    !!! example

        `fm.simulate(fm.GradientFlow(fm.PotentialEnergy(f)), mu, [0.0, 1.0])`
    """

    energy: AbstractEnergy
    metric: AbstractMetric = Wasserstein()

    def rates(self, t, x, mu):
        return self.metric.rates(self.energy, x, mu)

"""Continuum limits of stochastic gradient descent."""

from ._mean_field_langevin import MeanFieldLangevin as MeanFieldLangevin
from ._self_interacting_langevin import SelfInteractingLangevin as SelfInteractingLangevin
from ._shallow_network import ShallowNetwork as ShallowNetwork
from ._stochastic_mean_field import StochasticMeanField as StochasticMeanField
from ._stochastic_modified_equation import (
    StochasticModifiedEquation as StochasticModifiedEquation,
)
from ._stochastic_modified_flow import StochasticModifiedFlow as StochasticModifiedFlow

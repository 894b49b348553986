"""Continuum limits of stochastic gradient descent."""

from ._mean_field_langevin import MeanFieldLangevin as MeanFieldLangevin
from ._shallow_network import ShallowNetwork as ShallowNetwork
from ._stochastic_modified_equation import (
    StochasticModifiedEquation as StochasticModifiedEquation,
)
from ._stochastic_modified_flow import StochasticModifiedFlow as StochasticModifiedFlow

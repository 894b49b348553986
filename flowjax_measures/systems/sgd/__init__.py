"""Continuum limits of stochastic gradient descent."""

from ._adam import AdamModifiedEquation as AdamModifiedEquation
from ._adaptive_moments import Moments as Moments
from ._mean_field_langevin import MeanFieldLangevin as MeanFieldLangevin
from ._minibatch import minibatch as minibatch
from ._moments import sgd_moments as sgd_moments
from ._momentum import MomentumModifiedEquation as MomentumModifiedEquation
from ._rmsprop import RMSpropModifiedEquation as RMSpropModifiedEquation
from ._self_interacting_langevin import SelfInteractingLangevin as SelfInteractingLangevin
from ._shallow_network import ShallowNetwork as ShallowNetwork
from ._stability import (
    contraction as contraction,
    stability_threshold as stability_threshold,
)
from ._stochastic_mean_field import StochasticMeanField as StochasticMeanField
from ._stochastic_modified_equation import StochasticModifiedEquation as StochasticModifiedEquation
from ._stochastic_modified_flow import StochasticModifiedFlow as StochasticModifiedFlow
from ._streaming_least_squares import StreamingLeastSquares as StreamingLeastSquares
from ._training import Training as Training
from ._valley_drift import valley_drift as valley_drift

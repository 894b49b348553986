"""Interpolants, bridges and generative flows."""

from ._blind_denoising import BlindDenoising as BlindDenoising
from ._conditional_flow import (
    ConditionalFlow as ConditionalFlow,
    conditional_flow_matching_loss as conditional_flow_matching_loss,
)
from ._control_linear import ControlLinear as ControlLinear
from ._drifting_flow import DriftingFlow as DriftingFlow
from ._drifting_loss import drifting_loss as drifting_loss
from ._energy_based_model import (
    EnergyBasedModel as EnergyBasedModel,
    jarzynski_loss as jarzynski_loss,
)
from ._equilibrium_matching import EquilibriumMatching as EquilibriumMatching
from ._flow_fields import FlowFields as FlowFields, flow_fields as flow_fields
from ._flow_map import FlowMap as FlowMap, distillation_loss as distillation_loss
from ._fourier_neural_operator import FourierNeuralOperator as FourierNeuralOperator
from ._gaussian_process import (
    Modes as Modes,
    gaussian_process as gaussian_process,
    karhunen_loeve as karhunen_loeve,
)
from ._guided_flow import GuidedFlow as GuidedFlow
from ._kac_flow import KacFlow as KacFlow
from ._least_squares_flow import LeastSquaresFlow as LeastSquaresFlow
from ._linear_posterior import linear_posterior as linear_posterior
from ._log_likelihood import LogLikelihood as LogLikelihood
from ._losses import (
    bridge_matching_loss as bridge_matching_loss,
    denoising_loss as denoising_loss,
    flow_matching_loss as flow_matching_loss,
)
from ._mckean_pontryagin import McKeanPontryagin as McKeanPontryagin
from ._mlp import MLP as MLP, GradientField as GradientField
from ._poisson_flow import PoissonFlow as PoissonFlow
from ._preconditioned_denoiser import PreconditionedDenoiser as PreconditionedDenoiser
from ._probability_flow import (
    ProbabilityFlow as ProbabilityFlow,
    fokker_planck_residual as fokker_planck_residual,
)
from ._random_fields import random_fields as random_fields
from ._schedules import (
    DiffusionSchedule as DiffusionSchedule,
    LinearSchedule as LinearSchedule,
    TrigonometricSchedule as TrigonometricSchedule,
    velocity_from_score as velocity_from_score,
)
from ._schroedinger_bridge import (
    bridge_cost as bridge_cost,
    bridge_hamiltonian as bridge_hamiltonian,
    schroedinger_bridge as schroedinger_bridge,
)
from ._score_matching import score_matching_loss as score_matching_loss
from ._stochastic_interpolant import StochasticInterpolant as StochasticInterpolant
from ._stopped_flow import StoppedFlow as StoppedFlow, stopping_loss as stopping_loss
from ._unet import UNet as UNet

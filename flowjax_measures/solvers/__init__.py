"""Solvers of ours, for schemes that diffrax lacks; they are diffrax solvers."""

from ._ancestral_sampling import AncestralSampling as AncestralSampling
from ._anderson_mixing import AndersonMixing as AndersonMixing
from ._annealed_importance import AnnealedImportance as AnnealedImportance
from ._birth_death import BirthDeath as BirthDeath
from ._conformal import (
    ConformalAdamsBashforth2 as ConformalAdamsBashforth2,
    ConformalSymplecticEuler as ConformalSymplecticEuler,
    ExponentialEuler as ExponentialEuler,
)
from ._consensus_jumps import ConsensusJumps as ConsensusJumps
from ._constrained_euler import ConstrainedEuler as ConstrainedEuler
from ._discrete_gradient import DiscreteGradient as DiscreteGradient
from ._entropic_scaling import EntropicScaling as EntropicScaling
from ._epoch_batches import EpochBatches as EpochBatches
from ._exponential_consensus import ExponentialConsensus as ExponentialConsensus
from ._exponential_integrator import ExponentialIntegrator as ExponentialIntegrator
from ._exponential_sampling import ExponentialSampling as ExponentialSampling
from ._geodesic_euler import GeodesicEuler as GeodesicEuler
from ._jko import JKO as JKO
from ._kinetic_jko import KineticJKO as KineticJKO
from ._langevin_splitting import LangevinSplitting as LangevinSplitting
from ._minimizing_movement import MinimizingMovement as MinimizingMovement
from ._mirror_descent import MirrorDescent as MirrorDescent
from ._one_sweep import OneSweep as OneSweep
from ._positive_implicit_euler import PositiveImplicitEuler as PositiveImplicitEuler
from ._predictor_corrector import PredictorCorrector as PredictorCorrector
from ._random_batch import RandomBatch as RandomBatch
from ._restart import Restart as Restart
from ._semi_implicit_euler import SemiImplicitEuler as SemiImplicitEuler
from ._sinkhorn_iterations import SinkhornIterations as SinkhornIterations
from ._small_noise import SmallNoiseHeun as SmallNoiseHeun
from ._stochastic_bures import StochasticBures as StochasticBures
from ._stochastic_churn import StochasticChurn as StochasticChurn
from ._strang import Strang as Strang
from ._variational_integrator import VariationalIntegrator as VariationalIntegrator
from ._variational_movement import VariationalMovement as VariationalMovement
from ._warm_sinkhorn import WarmSinkhorn as WarmSinkhorn

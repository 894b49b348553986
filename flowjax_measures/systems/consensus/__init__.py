from ._adam_consensus import AdamConsensus as AdamConsensus, AdamPoint as AdamPoint
from ._adaptive_pareto import AdaptivePareto as AdaptivePareto
from ._consensus_based import ConsensusBased as ConsensusBased
from ._consensus_based_sampling import ConsensusBasedSampling as ConsensusBasedSampling
from ._covariance_consensus import CovarianceConsensus as CovarianceConsensus
from ._effective_sample_size import EffectiveSampleSize as EffectiveSampleSize
from ._ensemble_kalman_inversion import EnsembleKalmanInversion as EnsembleKalmanInversion
from ._ensemble_kalman_sampler import EnsembleKalmanSampler as EnsembleKalmanSampler
from ._equality_constraint import EqualityConstraint as EqualityConstraint
from ._inferred_gradient import InferredGradient as InferredGradient
from ._kalman_wasserstein_flow import KalmanWassersteinFlow as KalmanWassersteinFlow
from ._localization import (
    gaspari_cohn as gaspari_cohn,
    thresholded_covariance as thresholded_covariance,
)
from ._memory_consensus import Memory as Memory, MemoryConsensus as MemoryConsensus
from ._mirror_consensus import MirrorConsensus as MirrorConsensus
from ._pareto_consensus import ParetoConsensus as ParetoConsensus
from ._polarized_consensus import PolarizedConsensus as PolarizedConsensus
from ._regularized_consensus import RegularizedConsensus as RegularizedConsensus
from ._saddle_consensus import SaddleConsensus as SaddleConsensus
from ._swarm_consensus import SwarmConsensus as SwarmConsensus

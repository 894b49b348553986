"""The systems, one a file."""

from .attention import (
    AlignmentFlow as AlignmentFlow,
    CausalAttention as CausalAttention,
    CausalCircle as CausalCircle,
    FeedForward as FeedForward,
    GraphAttention as GraphAttention,
    HeatFlow as HeatFlow,
    HypergraphInteraction as HypergraphInteraction,
    L2Attention as L2Attention,
    LinearAttention as LinearAttention,
    Merges as Merges,
    Normalized as Normalized,
    RandomMLPNoise as RandomMLPNoise,
    RandomQuadraticForm as RandomQuadraticForm,
    SelfAttention as SelfAttention,
    SinkhornAttention as SinkhornAttention,
    SympFormer as SympFormer,
    alignment_flow as alignment_flow,
    layers as layers,
    lost_in_the_middle as lost_in_the_middle,
    pairing_dynamics as pairing_dynamics,
    random_layers as random_layers,
)
from .consensus import (
    ConsensusBased as ConsensusBased,
    ConsensusBasedSampling as ConsensusBasedSampling,
    EffectiveSampleSize as EffectiveSampleSize,
    EnsembleKalmanInversion as EnsembleKalmanInversion,
    EnsembleKalmanSampler as EnsembleKalmanSampler,
    KalmanWassersteinFlow as KalmanWassersteinFlow,
    Memory as Memory,
    MemoryConsensus as MemoryConsensus,
    MirrorConsensus as MirrorConsensus,
    ParetoConsensus as ParetoConsensus,
    PolarizedConsensus as PolarizedConsensus,
    SaddleConsensus as SaddleConsensus,
    SwarmConsensus as SwarmConsensus,
)
from .flows import (
    GradientFlow as GradientFlow,
    LocalizedAttraction as LocalizedAttraction,
    McKeanVlasov as McKeanVlasov,
    Swarming as Swarming,
)
from .networks import (
    AllenCahn as AllenCahn,
    ControlledFlow as ControlledFlow,
    DiracFrenkel as DiracFrenkel,
    MultiIndexFlow as MultiIndexFlow,
    NaturalGradient as NaturalGradient,
    ResidualNetwork as ResidualNetwork,
    ResidualWeights as ResidualWeights,
)
from .sampling import Langevin as Langevin, UnderdampedLangevin as UnderdampedLangevin
from .sgd import (
    MeanFieldLangevin as MeanFieldLangevin,
    SelfInteractingLangevin as SelfInteractingLangevin,
    ShallowNetwork as ShallowNetwork,
    StochasticMeanField as StochasticMeanField,
    StochasticModifiedEquation as StochasticModifiedEquation,
    StochasticModifiedFlow as StochasticModifiedFlow,
)

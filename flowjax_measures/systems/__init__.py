"""The systems, one a file."""

from .attention import (
    CausalAttention as CausalAttention,
    CausalCircle as CausalCircle,
    FeedForward as FeedForward,
    GraphAttention as GraphAttention,
    HypergraphInteraction as HypergraphInteraction,
    L2Attention as L2Attention,
    LinearAttention as LinearAttention,
    lost_in_the_middle as lost_in_the_middle,
    RandomMLPNoise as RandomMLPNoise,
    RandomQuadraticForm as RandomQuadraticForm,
    SelfAttention as SelfAttention,
    SympFormer as SympFormer,
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
    PolarizedConsensus as PolarizedConsensus,
)
from .flows import GradientFlow as GradientFlow, McKeanVlasov as McKeanVlasov

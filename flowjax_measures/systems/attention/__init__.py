from ._alignment_flow import (
    AlignmentFlow as AlignmentFlow,
    HeatFlow as HeatFlow,
    alignment_flow as alignment_flow,
)
from ._b_diffusion import BDiffusion as BDiffusion
from ._causal_attention import CausalAttention as CausalAttention, CausalCircle as CausalCircle
from ._causal_kinetic import CausalKinetic as CausalKinetic
from ._charts import circle_chart as circle_chart, sphere_chart as sphere_chart
from ._feed_forward import FeedForward as FeedForward
from ._graph_attention import GraphAttention as GraphAttention
from ._graphon_vlasov import GraphonVlasov as GraphonVlasov
from ._harmonic_heat_flow import HarmonicHeatFlow as HarmonicHeatFlow
from ._hypergraph_interaction import HypergraphInteraction as HypergraphInteraction
from ._in_coordinates import (
    InCoordinates as InCoordinates,
)
from ._inertial_block import InertialBlock as InertialBlock, LogLinear as LogLinear
from ._l2_attention import L2Attention as L2Attention
from ._layers import layers as layers, random_layers as random_layers
from ._linear_attention import LinearAttention as LinearAttention
from ._lost_in_the_middle import (
    lost_in_the_middle as lost_in_the_middle,
    retrieval_modes as retrieval_modes,
)
from ._mean_shift import MeanShift as MeanShift
from ._normalized import Normalized as Normalized
from ._pairing_dynamics import (
    Merges as Merges,
    pairing_dynamics as pairing_dynamics,
)
from ._pairing_flow import PairingFlow as PairingFlow
from ._piecewise_constant import PiecewiseConstant as PiecewiseConstant
from ._random_mlp_noise import RandomMLPNoise as RandomMLPNoise
from ._random_quadratic_form import RandomQuadraticForm as RandomQuadraticForm
from ._retrieval_probability import retrieval_probability as retrieval_probability
from ._self_attention import SelfAttention as SelfAttention
from ._sinkhorn_attention import SinkhornAttention as SinkhornAttention
from ._sympformer import SympFormer as SympFormer
from ._transformer_block import (
    LayerNorm as LayerNorm,
    TransformerBlock as TransformerBlock,
)
from ._with_constant import WithConstant as WithConstant

"""Networks in depth, as manifolds of functions, and as controls."""

from ._allen_cahn import AllenCahn as AllenCahn
from ._contractive_flow import ContractiveFlow as ContractiveFlow
from ._controlled_flow import ControlledFlow as ControlledFlow
from ._dirac_frenkel import DiracFrenkel as DiracFrenkel, NaturalGradient as NaturalGradient
from ._multi_index_flow import MultiIndexFlow as MultiIndexFlow
from ._neural_collapse import (
    NeuralCollapse as NeuralCollapse,
    neural_collapse as neural_collapse,
)
from ._residual_network import (
    ResidualNetwork as ResidualNetwork,
    ResidualWeights as ResidualWeights,
)
from ._residual_transformer import ResidualTransformer as ResidualTransformer
from ._transformer_weights import TransformerWeights as TransformerWeights
from ._unconstrained_features import UnconstrainedFeatures as UnconstrainedFeatures

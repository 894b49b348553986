"""The systems, one a file."""

from .attention import SelfAttention as SelfAttention
from .consensus import ConsensusBased as ConsensusBased, EffectiveSampleSize as EffectiveSampleSize
from .flows import GradientFlow as GradientFlow, McKeanVlasov as McKeanVlasov

from ._consensus_based import ConsensusBased as ConsensusBased
from ._weights import EffectiveSampleSize as EffectiveSampleSize

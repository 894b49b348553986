from ._consensus_based import ConsensusBased as ConsensusBased

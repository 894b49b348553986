"""The interaction primitive: tilted means over tiles of pairs; sums on the line by sorting."""

from ._exponentials import mean_power as mean_power
from ._sorted import mean_distance as mean_distance, sort_order as sort_order
from ._tilted import identity as identity, tilted_mean as tilted_mean

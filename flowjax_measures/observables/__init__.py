"""What to look at while a system runs: functions of a measure.

Each takes a measure first, so that `observe=dict(energy=lambda mu: interaction_energy(mu, 4.0))`
evaluates it along a run without storing paths. Of `Phase` points the positions count; integer
labels never do.
"""

from ._clusters import (
    cluster_labels as cluster_labels,
    merge_clusters as merge_clusters,
    number_of_clusters as number_of_clusters,
    soft_number_of_clusters as soft_number_of_clusters,
    time_to_clusters as time_to_clusters,
)
from ._order import (
    attention_entropy as attention_entropy,
    circular_order as circular_order,
    dispersion as dispersion,
    interaction_energy as interaction_energy,
    order_parameter as order_parameter,
    retrieval_accuracy as retrieval_accuracy,
)

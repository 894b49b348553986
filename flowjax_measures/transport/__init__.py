"""Distances, couplings and geodesics between measures."""

from ._conditional import conditional_wasserstein as conditional_wasserstein
from ._distances import (
    energy_distance as energy_distance,
    ksd as ksd,
    mmd as mmd,
    sinkhorn_divergence as sinkhorn_divergence,
    sliced_wasserstein as sliced_wasserstein,
)
from ._entropic import entropic_coupling as entropic_coupling
from ._exact import coupling as coupling, mccann as mccann, wasserstein as wasserstein
from ._gaussian import bures as bures, bures_map as bures_map

"""Distances, couplings and geodesics between measures."""

from ..energies._bures import bures as bures, bures_map as bures_map
from ._conditional import conditional_wasserstein as conditional_wasserstein
from ._continuity import (
    GridVelocity as GridVelocity,
    dacorogna_moser as dacorogna_moser,
    least_squares_velocity as least_squares_velocity,
)
from ._distances import (
    energy_distance as energy_distance,
    ksd as ksd,
    mmd as mmd,
    sinkhorn_divergence as sinkhorn_divergence,
    sliced_wasserstein as sliced_wasserstein,
)
from ._entropic import entropic_coupling as entropic_coupling
from ._exact import coupling as coupling, mccann as mccann, wasserstein as wasserstein
from ._hellinger_kantorovich import hellinger_kantorovich as hellinger_kantorovich
from ._kinetic import (
    kinetic_cost as kinetic_cost,
    kinetic_interpolation as kinetic_interpolation,
)
from ._maps import (
    barycentric_map as barycentric_map,
    linearized_wasserstein as linearized_wasserstein,
    quantize as quantize,
)
from ._minibatch import minibatch_coupling as minibatch_coupling

"""Distances, couplings and geodesics between measures."""

from ..energies._bures import bures as bures, bures_map as bures_map
from ._collective_diffusion import (
    CollectiveDiffusion as CollectiveDiffusion,
    collective_diffusion as collective_diffusion,
)
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
from ._kinetic import kinetic_cost as kinetic_cost, kinetic_interpolation as kinetic_interpolation
from ._maps import (
    barycentric_map as barycentric_map,
    linearized_wasserstein as linearized_wasserstein,
    quantize as quantize,
)
from ._minibatch import minibatch_coupling as minibatch_coupling
from ._nested import nested_mccann as nested_mccann, nested_wasserstein as nested_wasserstein
from ._splines import transport_spline as transport_spline
from ._unbalanced import (
    KullbackLeibler as KullbackLeibler,
    SquaredError as SquaredError,
    Unbalanced as Unbalanced,
    unbalanced_transport as unbalanced_transport,
)

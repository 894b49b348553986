"""Distances, couplings and geodesics between measures."""

from ..energies._bures import bures as bures, bures_map as bures_map
from ._barycenter import barycenter as barycenter, median as median
from ._benamou_brenier import (
    BenamouBrenier as BenamouBrenier,
    benamou_brenier as benamou_brenier,
)
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
    unbalanced_sinkhorn_divergence as unbalanced_sinkhorn_divergence,
)
from ._entropic import (
    entropic_cost as entropic_cost,
    entropic_coupling as entropic_coupling,
    entropic_potentials as entropic_potentials,
)
from ._entropic_barycenter import entropic_barycenter as entropic_barycenter
from ._exact import coupling as coupling, wasserstein as wasserstein
from ._geodesics import mccann as mccann
from ._gromov import (
    GromovWasserstein as GromovWasserstein,
    gromov_wasserstein as gromov_wasserstein,
)
from ._hellinger_kantorovich import hellinger_kantorovich as hellinger_kantorovich
from ._information import (
    fisher_information as fisher_information,
    kl_divergence as kl_divergence,
)
from ._kinetic import kinetic_cost as kinetic_cost, kinetic_interpolation as kinetic_interpolation
from ._maps import (
    barycentric_map as barycentric_map,
    entropic_map as entropic_map,
    linearized_wasserstein as linearized_wasserstein,
    quantize as quantize,
)
from ._martingale import (
    MartingaleTransport as MartingaleTransport,
    martingale_transport as martingale_transport,
)
from ._mean_field_game import (
    MeanFieldGame as MeanFieldGame,
    mean_field_game as mean_field_game,
)
from ._minibatch import minibatch_coupling as minibatch_coupling
from ._nested import nested_mccann as nested_mccann, nested_wasserstein as nested_wasserstein
from ._partial import Partial as Partial, partial_transport as partial_transport
from ._representation import (
    Representation as Representation,
    TransportMap as TransportMap,
    transport_representation as transport_representation,
)
from ._splines import transport_spline as transport_spline
from ._unbalanced import (
    KullbackLeibler as KullbackLeibler,
    SquaredError as SquaredError,
    TotalVariation as TotalVariation,
    Unbalanced as Unbalanced,
    unbalanced_transport as unbalanced_transport,
)

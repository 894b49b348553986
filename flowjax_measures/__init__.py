"""Flows of measures in JAX: simulate, differentiate and fit them."""

from . import checkpoint as checkpoint, initial as initial, plot as plot
from ._coarsen import Coarsening as Coarsening, coarsen as coarsen
from ._gradient_spread import (
    GradientSpread as GradientSpread,
    gradient_spread as gradient_spread,
)
from ._in_context import Reading as Reading, in_context as in_context
from ._noise import (
    Common as Common,
    Covariance as Covariance,
    Cylindrical as Cylindrical,
    Dense as Dense,
    Diagonal as Diagonal,
    Isotropic as Isotropic,
)
from ._pontryagin import (
    Pontryagin as Pontryagin,
    pontryagin as pontryagin,
    worst_case as worst_case,
)
from ._resume import simulate_resumable as simulate_resumable
from ._simulate import Results as Results, Trajectory as Trajectory, simulate as simulate
from ._system import (
    AbstractMeanField as AbstractMeanField,
    AbstractSystem as AbstractSystem,
    Custom as Custom,
    Species as Species,
)
from .compare import Comparison as Comparison, Slope as Slope, compare as compare
from .energies import *  # noqa: F403
from .fit import FitResult as FitResult, fit as fit, profile as profile
from .inference import *  # noqa: F403
from .kernels import *  # noqa: F403
from .measures import *  # noqa: F403
from .metrics import *  # noqa: F403
from .observables import (
    attention_entropy as attention_entropy,
    circular_order as circular_order,
    dispersion as dispersion,
    interaction_energy as interaction_energy,
    merge_clusters as merge_clusters,
    number_of_clusters as number_of_clusters,
    order_parameter as order_parameter,
    retrieval_accuracy as retrieval_accuracy,
    soft_number_of_clusters as soft_number_of_clusters,
    time_to_clusters as time_to_clusters,
)
from .optimize import (
    OptimizeResult as OptimizeResult,
    kalman_filter as kalman_filter,
    minimize as minimize,
    sample as sample,
)
from .solvers import *  # noqa: F403
from .spaces import *  # noqa: F403
from .sweep import Sweep as Sweep, sweep as sweep
from .systems import *  # noqa: F403
from .transport import *  # noqa: F403

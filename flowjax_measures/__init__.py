"""Flows of measures in JAX: simulate, differentiate and fit them."""

from ._noise import (
    Common as Common,
    Cylindrical as Cylindrical,
    Dense as Dense,
    Diagonal as Diagonal,
    Isotropic as Isotropic,
)
from ._simulate import Results as Results, simulate as simulate, Trajectory as Trajectory
from ._system import (
    AbstractMeanField as AbstractMeanField,
    AbstractSystem as AbstractSystem,
    Custom as Custom,
    Species as Species,
)
from .energies import *  # noqa: F403
from .kernels import *  # noqa: F403
from .measures import *  # noqa: F403
from .metrics import *  # noqa: F403
from .spaces import *  # noqa: F403
from .systems import *  # noqa: F403

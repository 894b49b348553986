"""Functionals of a measure."""

from ._adversarial import AdversarialDivergence as AdversarialDivergence
from ._base import (
    AbstractEnergy as AbstractEnergy,
    AbstractTransportEnergy as AbstractTransportEnergy,
)
from ._bilevel import Bilevel as Bilevel
from ._bures import SquaredWasserstein as SquaredWasserstein
from ._discrepancies import (
    MMD as MMD,
    KernelSteinDiscrepancy as KernelSteinDiscrepancy,
    SteinKernel as SteinKernel,
)
from ._divergences import KL as KL, Renyi as Renyi
from ._elementary import InteractionEnergy as InteractionEnergy, PotentialEnergy as PotentialEnergy
from ._f_divergence import FDivergence as FDivergence
from ._functional import Functional as Functional
from ._functional_bilevel import FunctionalBilevel as FunctionalBilevel
from ._internal import (
    Congestion as Congestion,
    Entropy as Entropy,
    Exclusion as Exclusion,
    KernelEntropy as KernelEntropy,
    PowerEnergy as PowerEnergy,
)
from ._mixture import GaussianMixtureKL as GaussianMixtureKL
from ._sinkhorn import SinkhornDivergence as SinkhornDivergence
from ._sinkhorn_entropy import SinkhornRelativeEntropy as SinkhornRelativeEntropy
from ._sliced import SlicedWasserstein as SlicedWasserstein, sphere_directions as sphere_directions

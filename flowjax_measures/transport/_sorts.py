"""The sliced distance of equal numbers of particles of equal weight, by NumPy's sorts.

XLA's sort on a CPU compares through a function of its operands, and takes twice as long and more.
"""

import jax
import numpy as np
from jaxtyping import Float

from ..energies import SlicedWasserstein
from ..energies._ground import points_of
from ..energies._sliced import matched
from ..measures import AbstractMeasure
from ..measures._base import concrete

# Projections at once.
_LARGEST = 2**22


def sliced_on_the_host(energy: SlicedWasserstein, mu: AbstractMeasure) -> np.ndarray | None:
    """SW₂, where numbers can be looked at, are on a CPU and need nothing but sorting."""
    if not (concrete(energy, mu) and matched(mu, energy.target)) or jax.default_backend() != "cpu":
        return None
    theta = np.asarray(energy._directions(mu))
    x, y = (np.asarray(points_of(m)) for m in (mu, energy.target))
    rows = max(1, _LARGEST // len(x))
    gaps = [_square(theta[k : k + rows], x, y) for k in range(0, len(theta), rows)]
    weights = None if energy.weights is None else np.asarray(energy.weights)
    return np.sqrt(np.average(np.concatenate(gaps), weights=weights)).astype(x.dtype)


def _square(
    theta: Float[np.ndarray, "k d"], x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " k"]:
    """W₂² along each direction."""
    here, there = (theta @ points.T for points in (x, y))
    here.sort(axis=1)
    there.sort(axis=1)
    here -= there
    return np.einsum("kn,kn->k", here, here) / here.shape[1]

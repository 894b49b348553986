r"""Slice matching along changing orthonormal bases ([pitie2007], [thurin2026]).

    dX = (T_P(X) − X) dt,   T_P(x) = Σ_l θ_l T_l(⟨θ_l, x⟩),   P = (θ_1, …, θ_d) orthonormal,

T_l the monotone map between the projections on θ_l. An Euler step of particles of length γ is the
iteration σ_{k+1} = ((1 − γ) I + γ T_P)_# σ_k, stochastic gradient descent of ½ d SW₂². Between
elliptic laws T_P is linear, and a step of `GeodesicEuler` from a `Gaussian` is exact. Near an
isotropic target a covariance Σ = s(I + E) with tr E = 0 contracts, in the mean over bases, by

    E‖E′‖² = (1 − 2γ(2 − γ)/(d + 2)) ‖E‖²       (one direction alone: 1 − 2γ(2 − γ)/(d(d + 2))).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import Count, Positive, PRNGKey
from ..._numerics import checked
from ..._system import AbstractMeanField
from ...energies import SlicedWasserstein
from ...energies._sliced import check_unit
from ...measures import AbstractMeasure, Rates


@checked
def orthonormal_bases(key: PRNGKey, count: Count, dimension: Count) -> Float[Array, "k d d"]:
    """`count` independent uniform orthonormal bases of `dimension` dimensions, as rows.

    !!! example

        `fm.orthonormal_bases(key, 4, 3).shape`
    """
    return jnp.linalg.qr(jax.random.normal(key, (count, dimension, dimension)))[0]


class SliceMatching(AbstractMeanField):
    """Points that match a target's projections, on one orthonormal basis after the other.

    **Arguments:** `target`: the measure to match. `bases`: shape (k, d, d), rows of a basis are
    its vectors, for example `orthonormal_bases(key, k, d)`; fewer rows match fewer directions.
    `period`: the time for which a basis is used; they return in turn.

    !!! example

        `simulate(SliceMatching(nu, bases, 0.5), mu, [0, 100], dt=0.5, solver=GeodesicEuler())`
    """

    target: AbstractMeasure
    bases: Float[Array, "k l d"]
    period: Positive = 1.0

    def __check_init__(self):
        check_unit("bases", self.bases)

    def rates(self, t, x, mu):
        # Times are sums of steps: those a little early belong to the period that begins.
        turn = jnp.floor(jnp.asarray(t) / self.period + 1e-3).astype(jnp.int32)
        basis = self.bases[turn % len(self.bases)]
        return Rates(len(basis) * SlicedWasserstein(self.target, basis).velocity(x, mu))

r"""Schrödinger bridges, as interpolants of the entropic plan ([leonard2014], [bunne2023]).

The law of paths nearest to σW in relative entropy, with given ends, is a mixture of Brownian
bridges over the plan π of entropic transport,

    min_π ∫ ‖x − y‖² dπ + 2σ² KL(π | μ⊗ν),   I_t = (1 − t)X_0 + tX_1 + σ√(t(1 − t)) Z,

and the diffusion dX = u dt + σ dW with the drift

    u = b + ½σ²s = E[X_1 − x | I_t = x]/(1 − t) = σ²∇ log φ_t,

where φ solves the heat equation back in time. Between Gaussians with covariances A and B

    Cov(X_0, X_1) = ½(A^{1/2} D A^{−1/2} − σ²I),   D = (4A^{1/2}BA^{1/2} + σ⁴I)^{1/2}.
"""

from ..._custom_types import Scalar
from ...energies._ground import check_flat
from ...energies._sinkhorn import _slope
from ...measures import AbstractMeasure, Gaussian
from ...transport import entropic_coupling
from ._schedules import LinearSchedule
from ._stochastic_interpolant import StochasticInterpolant


def schroedinger_bridge(
    source: AbstractMeasure, target: AbstractMeasure, sigma: Scalar, noise: bool = True
) -> StochasticInterpolant:
    r"""The Schrödinger bridge from `source` at t = 0 to `target` at t = 1 over σW.

    **Arguments:** `source`, `target`: two `Gaussian`s, or two measures with atoms (some hundreds).
    `sigma`: σ; as σ → 0 it is the W₂ geodesic. `noise`: whether the system is the diffusion with
    drift u, or else the flow with velocity b, of the same laws.

    **Raises:** `ValueError` for a Gaussian and a measure of atoms.
    """
    if isinstance(source, Gaussian) and isinstance(target, Gaussian):
        # The conditional mean of X_1 is m + K(x − m_0); the cost has no ½, so ε = 2σ².
        coupling = source.cov @ _slope(source.cov, target.cov, 2 * sigma**2).T
    else:
        check_flat("schroedinger_bridge", source, target)
        coupling = entropic_coupling(source, target, 2 * sigma**2)
    diffusion = sigma**2 / 2 if noise else None
    return StochasticInterpolant(source, target, LinearSchedule(sigma), coupling, diffusion)

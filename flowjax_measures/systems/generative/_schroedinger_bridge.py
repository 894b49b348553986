r"""Schrödinger bridges, as interpolants of the entropic plan ([leonard2014], [bunne2023]).

The law of paths nearest to σW in relative entropy, with given ends, is a mixture of Brownian
bridges over the plan π of entropic transport,

    min_π ∫ ‖x − y‖² dπ + 2σ² KL(π | μ⊗ν),   I_t = (1 − t)X_0 + tX_1 + σ√(t(1 − t)) Z,

and the diffusion dX = u dt + σ dW with the drift

    u = b + ½σ²s = E[X_1 − x | I_t = x]/(1 − t) = σ²∇ log φ_t,

where φ solves the heat equation back in time. Between Gaussians with covariances A and B

    Cov(X_0, X_1) = ½(A^{1/2} D A^{−1/2} − σ²I),   D = (4A^{1/2}BA^{1/2} + σ⁴I)^{1/2}.

Its cost and its Hamiltonian, which is the same at all times, are

    ½ ∫_0^1 E|u|² dt = ½ OT_{2σ²}(μ, ν) + σ² ∫ log ν dν + ½ dσ² log(2πσ²),   E ½|u|² + ½σ² ∇·u.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import FloatScalar, Scalar
from ..._numerics import checked
from ...energies import Entropy
from ...energies._ground import check_flat
from ...energies._sinkhorn import _slope
from ...measures import AbstractMeasure, Gaussian, Particles
from ...transport import entropic_cost, entropic_coupling
from ._schedules import LinearSchedule
from ._stochastic_interpolant import StochasticInterpolant


@checked
def schroedinger_bridge(
    source: AbstractMeasure, target: AbstractMeasure, sigma: Scalar, noise: bool = True
) -> StochasticInterpolant:
    r"""The Schrödinger bridge from `source` at t = 0 to `target` at t = 1 over σW.

    **Arguments:** `source`, `target`: two `Gaussian`s, or two measures with atoms (some hundreds).
    `sigma`: σ; as σ → 0 it is the W₂ geodesic. `noise`: whether the system is the diffusion with
    drift u, or else the flow with velocity b, of the same laws.

    **Raises:** `ValueError` for a Gaussian and a measure of atoms.

    !!! example

        `fm.schroedinger_bridge(mu, nu, 0.5)`
    """
    plan = _plan("schroedinger_bridge", source, target, sigma)
    diffusion = sigma**2 / 2 if noise else None
    return StochasticInterpolant(source, target, LinearSchedule(sigma), plan, diffusion)


def _plan(name: str, source: AbstractMeasure, target: AbstractMeasure, sigma: Scalar) -> Array:
    """Cov(X_0, X_1) between Gaussians, else the masses of pairs of atoms."""
    if isinstance(source, Gaussian) and isinstance(target, Gaussian):
        if source.m.shape != target.m.shape:
            raise ValueError(
                f"`target` of {name} has {target.m.size} coordinates, `source` {source.m.size}."
            )
        # The conditional mean of X_1 is m + K(x − m_0); the cost has no ½, so ε = 2σ².
        return source.cov @ _slope(source.cov, target.cov, 2 * sigma**2).T
    check_flat(name, source, target)
    return entropic_coupling(source, target, 2 * sigma**2)


@checked
def bridge_cost(source: AbstractMeasure, target: AbstractMeasure, sigma: Scalar) -> FloatScalar:
    r"""The cost ½ ∫_0^1 E|u|² dt of the bridge: σ² KL of its paths from those of σW from `source`.

    Closed form between Gaussians; half of W₂² as σ → 0. Infinite towards atoms, where u blows up:
    they are refused.

    **Arguments:** as `schroedinger_bridge`; `target` is a `Gaussian`, or the density of a grid.

    !!! example

        `fm.bridge_cost(fm.Gaussian(m, a), fm.Gaussian(n, b), 0.5)`
    """
    if isinstance(target, Particles):
        raise ValueError(
            "`target` is atoms, and no bridge to them has a finite cost; give a Gaussian or a grid."
        )
    entropy = Entropy()(target)
    variance = jnp.asarray(sigma, entropy.dtype) ** 2
    d = target.m.size if isinstance(target, Gaussian) else target.atoms()[0].shape[1]
    heat = d * variance * jnp.log(2 * math.pi * variance) / 2
    return entropic_cost(source, target, 2 * variance) / 2 + variance * entropy + heat


@checked
def bridge_hamiltonian(
    source: AbstractMeasure, target: AbstractMeasure, sigma: Scalar
) -> FloatScalar:
    r"""E ½|u|² + ½σ² ∇·u, which is the same at all times of the bridge.

    By its start, where ∇·u is that of σ²∇ log φ_0 = E[X_1 − x | X_0 = x], it is
    ½ E|X_1 − X_0|² − ½dσ².

    **Arguments:** as `schroedinger_bridge`.

    !!! example

        `fm.bridge_hamiltonian(mu, nu, 0.5)`; as σ → 0 it is ½ W₂²(μ, ν).
    """
    plan = _plan("bridge_hamiltonian", source, target, sigma)
    if isinstance(source, Gaussian) and isinstance(target, Gaussian):
        d, away = source.m.size, source.m - target.m
        square = jnp.vdot(away, away) + jnp.trace(source.cov + target.cov - 2 * plan)
    else:
        x, y = source.atoms()[0], target.atoms()[0]
        d, away = x.shape[1], jnp.where(plan[..., None] > 0, x[:, None] - y, 0)
        square = jnp.sum(plan * jnp.sum(away**2, axis=-1)) / jnp.sum(plan)
    return square / 2 - d * jnp.asarray(sigma, square.dtype) ** 2 / 2

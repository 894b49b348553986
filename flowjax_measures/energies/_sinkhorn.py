r"""The Sinkhorn divergence to a target measure ([feydy2019]).

    S_ε(μ, ν) = OT_ε(μ, ν) − ½ OT_ε(μ, μ) − ½ OT_ε(ν, ν),
    OT_ε(μ, ν) = min_π ∫ d(x, y)² dπ + ε KL(π | μ⊗ν),
    δS/δμ(x) = f_{μν}(x) − f_{μμ}(x),   f_{μν}(x) = −ε log ∫ e^{(g(y) − d(x,y)²)/ε} ν(dy),

with the distance d of the measures' space.

In flat space its Wasserstein flow moves x by 2 (T_{μν}(x) − T_{μμ}(x)), the difference of two
barycentric maps. Both measures are divided by their masses. The cost has no ½: with ½‖x−y‖² the
same ε is half.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Positive
from .._numerics import jitted
from .._numerics._matrix import square_root
from ..kernels._base import mass
from ..measures import AbstractMeasure, Gaussian
from ..spaces import AbstractSpace
from ._base import AbstractTransportEnergy
from ._entropic_cost import (
    entropic_value,
    extended,
    schrodinger_potentials,
    self_potential,
    self_value,
    spread_alike,
)
from ._ground import flat, is_flat, located, shared_space, square


class SinkhornDivergence(AbstractTransportEnergy):
    r"""S_ε(·, target), with the true derivative of its potentials of every order.

    Between two `Gaussian`s it is in closed form, and its flow is the covariance equation

        ṁ = −2 (m − m*),   Σ̇ = 2 (Δ Σ + Σ Δ),   Δ = K(Σ, Σ*) − K(Σ, Σ),
        K(A, B) = 2 R h(Rᵀ A R) Rᵀ,   B = R Rᵀ,   h(z) = (√(4z + ε²/4) + ε/2)⁻¹.

    All other measures enter by their atoms. Between grids the Schrödinger systems are products over
    the axes, 256 × 256 cells in a second. Up to 33 million pairs of others they are dense; beyond,
    in flat space, they are summed in tiles, in memory linear in the atoms.

    **Arguments:** `target`: the measure ν. `epsilon`: ε > 0, in the units of ‖x − y‖².

    !!! example

        `fm.SinkhornDivergence(nu, 0.1)(mu)`
    """

    target: AbstractMeasure
    epsilon: Positive

    @jitted
    def __call__(self, mu):
        if isinstance(mu, Gaussian) and isinstance(self.target, Gaussian):
            shared_space(mu, self.target)
            nu, epsilon = self.target, self.epsilon
            return (
                _gaussian_cost(mu, nu, epsilon)
                - (_gaussian_cost(mu, mu, epsilon) + _gaussian_cost(nu, nu, epsilon)) / 2
            )
        nu, epsilon = self.target, self._atoms(mu)[1]
        selves = self_value(mu, epsilon) + self_value(nu, epsilon)
        return entropic_value(mu, nu, epsilon) - selves / 2

    def first_variation(self, x, mu):
        if isinstance(mu, Gaussian) and isinstance(self.target, Gaussian):
            shared_space(mu, self.target)
            nu, z = self.target, x - mu.m
            pull = _slope(mu.cov, nu.cov, self.epsilon) - _self_slope(mu.cov, self.epsilon)
            return 2 * jnp.vdot(z, mu.m - nu.m) - jnp.vdot(z, pull @ z)
        return self.extended(x, mu, self.potentials(mu)) / mass(mu)

    def potentials(self, mu: AbstractMeasure, start: Any = None) -> tuple[Array, Array, Array]:
        """f and g of OT_ε(μ, ν) and the potential of OT_ε(μ, μ), at the atoms.

        `start`: potentials of a measure nearby, from which they are sooner found.
        """
        epsilon = self._atoms(mu)[1]
        near, _, near_own = (None, None, None) if start is None else start
        f, g = schrodinger_potentials(mu, self.target, epsilon, near)
        return f, g, self_potential(mu, epsilon, near_own)

    def extended(self, x: Any, mu: AbstractMeasure, found: tuple[Array, Array, Array]) -> Any:
        """The first variation at x from the potentials at the atoms."""
        space, epsilon, (points, log_a), (targets, log_b) = self._atoms(mu)
        _, g, own = found
        x = flat(x) if is_flat(space) else x
        cost = square(space)
        nu = self.target
        there = extended(cost, x, targets, log_b, g, epsilon, spread_alike(nu, nu))
        return there - extended(cost, x, points, log_a, own, epsilon, spread_alike(mu, mu))

    def _atoms(self, mu: AbstractMeasure) -> tuple[AbstractSpace, Array, Any, Any]:
        """The space, ε, and the atoms of both measures with normalised weights."""
        space = shared_space(mu, self.target)
        here, there = located(mu, space), located(self.target, space)
        return space, jnp.asarray(self.epsilon, here[1].dtype), here, there


def _half(dimension: int, epsilon: FloatScalar, dtype) -> Float[Array, "d d"]:
    return jnp.asarray(epsilon, dtype) / 2 * jnp.eye(dimension, dtype=dtype)


def _slope(a: Float[Array, "d d"], b: Float[Array, "d d"], epsilon: FloatScalar) -> Array:
    """K with T_{μν}(x) = m_ν + K (x − m_μ), for covariances a of μ and b of ν."""
    half = _half(len(a), epsilon, a.dtype)
    root = square_root(b)
    inner = square_root(4 * root @ a @ root + half @ half) + half
    slope = 2 * root @ jnp.linalg.solve(inner, root)
    return (slope + slope.T) / 2


def _self_slope(a: Float[Array, "d d"], epsilon: FloatScalar) -> Array:
    half = _half(len(a), epsilon, a.dtype)
    slope = 2 * jnp.linalg.solve(square_root(4 * a @ a + half @ half) + half, a)
    return (slope + slope.T) / 2


def _gaussian_cost(mu: Gaussian, nu: Gaussian, epsilon: FloatScalar) -> Float[Array, ""]:
    """OT_ε of Gaussians ([janati2020])."""
    half = _half(mu.m.size, epsilon, mu.m.dtype)
    root = square_root(nu.cov)
    inner = square_root(4 * root @ mu.cov @ root + half @ half)
    s = half[0, 0]
    spread = (
        jnp.trace(mu.cov + nu.cov - inner)
        + mu.m.size * s * (1 - jnp.log(2 * s))
        + s * jnp.linalg.slogdet(inner + half)[1]
    )
    return jnp.sum((mu.m - nu.m) ** 2) + spread

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
from .._reduce import tilted_mean
from ..kernels._base import mass
from ..measures import AbstractMeasure, Gaussian
from ..spaces import AbstractSpace
from ._base import AbstractTransportEnergy
from ._ground import flat, is_flat, located, shared_space, square, squares
from ._schrodinger import (
    balanced,
    centred,
    cost_potentials,
    optimal_entropic_cost,
    potentials,
    self_cost_potential,
    self_entropic_cost,
)
from ._schrodinger_streamed import LARGEST, streamed_cost, streamed_potentials


class SinkhornDivergence(AbstractTransportEnergy):
    r"""S_ε(·, target), with the true derivative of its potentials of every order.

    Between two `Gaussian`s it is in closed form, and its flow is the covariance equation

        ṁ = −2 (m − m*),   Σ̇ = 2 (Δ Σ + Σ Δ),   Δ = K(Σ, Σ*) − K(Σ, Σ),
        K(A, B) = 2 R h(Rᵀ A R) Rᵀ,   B = R Rᵀ,   h(z) = (√(4z + ε²/4) + ε/2)⁻¹.

    All other measures enter by their atoms. Up to 8 million pairs the Schrödinger systems are
    dense; beyond, in flat space, they are summed in tiles, in memory linear in the atoms.

    **Arguments:** `target`: the measure ν. `epsilon`: ε > 0, in the units of ‖x − y‖².
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
        space, epsilon, (x, log_a), (y, log_b) = self._atoms(mu)
        selves = [self_value(space, z, w, epsilon) for z, w in ((x, log_a), (y, log_b))]
        return entropic_value(space, x, log_a, y, log_b, epsilon) - sum(selves) / 2

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
        space, epsilon, (points, log_a), (targets, log_b) = self._atoms(mu)
        near, _, near_own = (None, None, None) if start is None else start
        f, g = space_potentials(space, points, log_a, targets, log_b, epsilon, near)
        own = self_potential(space, points, log_a, epsilon, near_own)
        return f, g, own

    def extended(self, x: Any, mu: AbstractMeasure, found: tuple[Array, Array, Array]) -> Any:
        """The first variation at x from the potentials at the atoms."""
        space, epsilon, (points, log_a), (targets, log_b) = self._atoms(mu)
        _, g, own = found
        x = flat(x) if is_flat(space) else x
        cost = square(space)
        there = extended(cost, x, targets, log_b, g, epsilon)
        return there - extended(cost, x, points, log_a, own, epsilon)

    def _atoms(self, mu: AbstractMeasure) -> tuple[AbstractSpace, Array, Any, Any]:
        """The space, ε, and the atoms of both measures with normalised weights."""
        space = shared_space(mu, self.target)
        here, there = located(mu, space), located(self.target, space)
        return space, jnp.asarray(self.epsilon, here[1].dtype), here, there


def many(space: AbstractSpace, x: Any, y: Any) -> bool:
    """Whether there are so many pairs that no matrix of their costs is formed."""
    return is_flat(space) and len(x) * len(y) > LARGEST


def self_value(space, x, log_a, epsilon) -> FloatScalar:
    """OT_ε(μ, μ)."""
    if many(space, x, x):
        return streamed_cost(x, log_a, x, log_a, epsilon)
    return self_entropic_cost(squares(space, x, x), log_a, epsilon)


def self_potential(space, x, log_a, epsilon, start=None) -> Array:
    """The potential f = g of OT_ε(μ, μ)."""
    if many(space, x, x):
        return streamed_potentials(x, log_a, x, log_a, epsilon)[0]
    return self_cost_potential(squares(space, x, x), log_a, epsilon, start)


def space_potentials(space, x, log_a, y, log_b, epsilon, start=None) -> tuple[Array, Array]:
    """The potentials of the cost d(x, y)² at atoms as `located` gives them."""
    if many(space, x, y):
        return streamed_potentials(x, log_a, y, log_b, epsilon)
    if is_flat(space):
        return potentials(x, log_a, y, log_b, epsilon, start)
    f, g = cost_potentials(squares(space, x, y), log_a, log_b, epsilon, start)
    return balanced(f, g, log_a, log_b)


def entropic_value(space, x, log_a, y, log_b, epsilon) -> FloatScalar:
    """OT_ε of the cost d(x, y)², with derivatives of every order."""
    if many(space, x, y):
        return streamed_cost(x, log_a, y, log_b, epsilon)
    if not is_flat(space):
        return optimal_entropic_cost(squares(space, x, y), log_a, log_b, epsilon)
    near, (f, g) = centred(x, log_a, y, log_b)
    moved = jnp.vdot(jnp.exp(log_a), f) + jnp.vdot(jnp.exp(log_b), g)
    return optimal_entropic_cost(near, log_a, log_b, epsilon) + moved


def extended(cost, x, points, log_weights, potential, epsilon):
    """The potential that belongs to `potential`, at any point x."""

    def logits(atom):
        y, g = atom
        return (g - cost(x, y)) / epsilon

    one = lambda atom: jnp.ones_like(atom[1])  # noqa: E731
    return -epsilon * tilted_mean(one, logits, (points, potential), log_weights)[1]


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

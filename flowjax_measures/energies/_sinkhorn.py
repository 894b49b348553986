r"""The Sinkhorn divergence to a target measure ([feydy2019]).

    S_ε(μ, ν) = OT_ε(μ, ν) − ½ OT_ε(μ, μ) − ½ OT_ε(ν, ν),
    OT_ε(μ, ν) = min_π ∫ ‖x − y‖² dπ + ε KL(π | μ⊗ν),
    δS/δμ(x) = f_{μν}(x) − f_{μμ}(x),   f_{μν}(x) = −ε log ∫ e^{(g(y) − ‖x−y‖²)/ε} ν(dy).

Its Wasserstein flow moves x by 2 (T_{μν}(x) − T_{μμ}(x)), the difference of two barycentric maps.
Both measures are divided by their masses. The cost has no ½: with ½‖x−y‖² the same ε is half.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Positive
from .._numerics._matrix import square_root
from .._reduce import tilted_mean
from ..measures import AbstractMeasure, Gaussian
from ..noise._noise import floating
from ._base import AbstractTransportEnergy
from ._schrodinger import entropic_cost, potentials, self_entropic_cost, self_potential


class SinkhornDivergence(AbstractTransportEnergy):
    r"""S_ε(·, target), with the true derivative of its potentials of every order.

    Between two `Gaussian`s it is in closed form, and its flow is the covariance equation

        ṁ = −2 (m − m*),   Σ̇ = 2 (Δ Σ + Σ Δ),   Δ = K(Σ, Σ*) − K(Σ, Σ),
        K(A, B) = 2 R h(Rᵀ A R) Rᵀ,   B = R Rᵀ,   h(z) = (√(4z + ε²/4) + ε/2)⁻¹.

    All other measures enter by their atoms. The Schrödinger systems are dense: n×m numbers.

    **Arguments:** `target`: the measure ν. `epsilon`: ε > 0, in the units of ‖x − y‖².
    """

    target: AbstractMeasure
    epsilon: Positive

    def __check_init__(self):
        if isinstance(self.epsilon, float | int) and self.epsilon <= 0:
            raise ValueError(
                f"`epsilon` is {self.epsilon}; give ε > 0, in the units of ‖x − y‖². "
                "`wasserstein` has no regularisation."
            )

    def __call__(self, mu):
        if isinstance(mu, Gaussian) and isinstance(self.target, Gaussian):
            nu, epsilon = self.target, self.epsilon
            return (
                _gaussian_cost(mu, nu, epsilon)
                - (_gaussian_cost(mu, mu, epsilon) + _gaussian_cost(nu, nu, epsilon)) / 2
            )
        epsilon, (x, log_a), (y, log_b) = self._atoms(mu)
        selves = self_entropic_cost(x, log_a, epsilon) + self_entropic_cost(y, log_b, epsilon)
        return entropic_cost(x, log_a, y, log_b, epsilon) - selves / 2

    def first_variation(self, x, mu):
        if isinstance(mu, Gaussian) and isinstance(self.target, Gaussian):
            nu, z = self.target, x - mu.m
            pull = _slope(mu.cov, nu.cov, self.epsilon) - _self_slope(mu.cov, self.epsilon)
            return 2 * jnp.vdot(z, mu.m - nu.m) - jnp.vdot(z, pull @ z)
        return self.extended(x, mu, self.potentials(mu))

    def potentials(self, mu: AbstractMeasure, start: Any = None) -> tuple[Array, Array, Array]:
        """f and g of OT_ε(μ, ν) and the potential of OT_ε(μ, μ), at the atoms.

        `start`: potentials of a measure nearby, from which they are sooner found.
        """
        epsilon, (points, log_a), (targets, log_b) = self._atoms(mu)
        near, _, near_own = (None, None, None) if start is None else start
        f, g = potentials(points, log_a, targets, log_b, epsilon, near)
        return f, g, self_potential(points, log_a, epsilon, near_own)

    def extended(self, x: Any, mu: AbstractMeasure, found: tuple[Array, Array, Array]) -> Any:
        """The first variation at x from the potentials at the atoms."""
        epsilon, (points, log_a), (targets, log_b) = self._atoms(mu)
        _, g, own = found
        x = _flat(x)
        return _extend(x, targets, log_b, g, epsilon) - _extend(x, points, log_a, own, epsilon)

    def _atoms(self, mu: AbstractMeasure) -> tuple[Array, Any, Any]:
        """ε, and the atoms of both measures as vectors with normalised weights."""
        here, there = _normalised(mu), _normalised(self.target)
        return jnp.asarray(self.epsilon, here[0].dtype), here, there


def _flat(x: Any) -> Float[Array, " d"]:
    return ravel_pytree(floating(x))[0]


def _normalised(mu: AbstractMeasure) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    points, log_weights = mu.atoms()
    return jax.vmap(_flat)(points), jax.nn.log_softmax(log_weights)


def _extend(x, points, log_weights, potential, epsilon):
    """The potential that belongs to `potential`, at any point x."""

    def logits(atom):
        y, g = atom
        return (g - jnp.sum((x - y) ** 2)) / epsilon

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

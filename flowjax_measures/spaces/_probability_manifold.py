r"""The simplex with the mobility of a reversible Markov chain ([maas2011], [mielke2011]).

    K(p)_ij = −θ_ij + δ_ij Σ_k θ_ik,   θ_ij = ω_ij Λ(p_i/π_i, p_j/π_j),   ω_ij = π_i Q_ij
    ⟨σ, τ⟩_p = σᵀ K(p)⁺ τ   for σ, τ of sum zero

with the logarithmic mean Λ. The gradient flow −K(p) ∇F of the relative entropy is the master
equation ṗ = Qᵀp. Curvatures are those of the metric in the coordinates p_1, …, p_{n−1}.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Numbers
from .._numerics import Checked, checked, given

Vector = Float[Array, " n"]


@checked
def logarithmic_mean(a: Numbers, b: Numbers) -> Array:
    """(a − b)/(log a − log b), a where a = b, 0 where one is 0; smooth.

    !!! example

        `fm.logarithmic_mean(1.0, 2.0)`
    """
    vanishes = (a <= 0) | (b <= 0)
    a, b = jnp.where(vanishes, 1, a), jnp.where(vanishes, 1, b)
    x = jnp.log(a / b) / 2
    # √(ab) sinh(x)/x; the series has all digits, and derivatives, for |x| < ½.
    near, square = jnp.abs(x) < 0.5, jnp.where(jnp.abs(x) < 0.5, x, 0) ** 2
    series = jnp.ones_like(x)
    for k in (12, 10, 8, 6, 4, 2):
        series = 1 + square / (k * (k + 1)) * series
    far = jnp.where(near, 1, x)
    mean = jnp.sqrt(a * b) * jnp.where(near, series, jnp.sinh(far) / far)
    return jnp.where(vanishes, 0, mean)


class ProbabilityManifold(Checked):
    """The interior of the simplex as a Riemannian manifold.

    **Arguments:** `weights`: ω, symmetric, ≥ 0, shape (n, n). `stationary`: π, shape (n,), uniform
    by default. `mean`: Λ, a symmetric function elementwise.

    !!! example

        `fm.ProbabilityManifold(jnp.ones((3, 3)))`
    """

    weights: Float[Array, "n n"]
    stationary: Vector
    mean: Callable[[Array, Array], Array] = logarithmic_mean

    def __init__(self, weights, stationary=None, mean=logarithmic_mean):
        self.weights = given("weights", weights)
        n = len(self.weights) if self.weights.ndim else 0
        if self.weights.shape != (n, n):
            raise ValueError(f"`weights` has shape {self.weights.shape}; give one for each pair.")
        uniform = jnp.full(n, 1 / n, self.weights.dtype)
        self.stationary = uniform if stationary is None else given("stationary", stationary)
        self.mean = mean

    def mobility(self, p: Vector) -> Float[Array, "n n"]:
        """θ, with zeros on the diagonal."""
        q = p / self.stationary
        theta = self.weights * self.mean(q[:, None], q[None])
        return theta - jnp.diag(jnp.diag(theta))

    def response(self, p: Vector) -> Float[Array, "n n"]:
        """K, Onsager's response matrix, the inverse of the metric."""
        theta = self.mobility(p)
        return jnp.diag(jnp.sum(theta, 1)) - theta

    def rates(self) -> Float[Array, "n n"]:
        """Q, the rates of the chain, of rows that sum to zero."""
        off = self.weights / self.stationary[:, None]
        return off - jnp.diag(jnp.sum(off, 1))

    def relative_entropy(self, p: Vector) -> FloatScalar:
        """Σ p log(p/π)."""
        positive = p > 0
        ratio = jnp.where(positive, p, 1) / self.stationary
        return jnp.sum(jnp.where(positive, p * jnp.log(ratio), 0))

    def metric(self, p: Vector) -> Float[Array, "k k"]:
        """g in the first n − 1 coordinates."""
        basis = self._basis(p)
        onto = self.response(p) + jnp.ones((p.size, p.size), p.dtype) / p.size
        return basis.T @ jnp.linalg.solve(onto, basis)

    def inner(self, p: Vector, sigma: Vector, tau: Vector) -> FloatScalar:
        """⟨σ, τ⟩_p of two tangents, vectors of sum zero."""
        return sigma[:-1] @ self.metric(p) @ tau[:-1]

    def volume(self, p: Vector) -> FloatScalar:
        """log √det g."""
        return jnp.linalg.slogdet(self.metric(p))[1] / 2

    def christoffel(self, p: Vector) -> Float[Array, "k k k"]:
        """Γ^i_jk of the Levi-Civita connection, in the first n − 1 coordinates."""
        basis = self._basis(p)
        slope = jnp.tensordot(jax.jacfwd(self.metric)(p), basis, axes=1)
        lower = (slope + jnp.swapaxes(slope, 1, 2) - jnp.moveaxis(slope, 2, 0)) / 2
        return jnp.tensordot(jnp.linalg.inv(self.metric(p)), lower, axes=1)

    def covariant(self, p: Vector, sigma: Vector, field: Callable[[Vector], Vector]) -> Vector:
        """∇_σ τ at p, of a vector field τ(p) of sum zero."""
        along = jax.jvp(field, (p,), (sigma,))[1]
        bend = jnp.einsum("ijk,j,k->i", self.christoffel(p), sigma[:-1], field(p)[:-1])
        return along + self._basis(p) @ bend

    def riemann(self, p: Vector) -> Float[Array, "k k k k"]:
        """R^i_jkl = ∂_k Γ^i_lj − ∂_l Γ^i_kj + Γ^i_km Γ^m_lj − Γ^i_lm Γ^m_kj."""
        gamma = self.christoffel(p)
        slope = jnp.tensordot(jax.jacfwd(self.christoffel)(p), self._basis(p), axes=1)
        half = jnp.einsum("iljk->ijkl", slope) + jnp.einsum("ikm,mlj->ijkl", gamma, gamma)
        return half - jnp.swapaxes(half, 2, 3)

    def ricci(self, p: Vector) -> Float[Array, "k k"]:
        """Ric_jl = R^i_jil."""
        return jnp.einsum("ijil->jl", self.riemann(p))

    def sectional(self, p: Vector, sigma: Vector, tau: Vector) -> FloatScalar:
        """The curvature of the plane of two tangents; on three states Gauss's curvature."""
        x, y, g = sigma[:-1], tau[:-1], self.metric(p)
        area = (x @ g @ x) * (y @ g @ y) - (x @ g @ y) ** 2
        return jnp.einsum("hi,ijkl,h,j,k,l->", g, self.riemann(p), x, y, x, y) / area

    def _basis(self, p: Vector) -> Float[Array, "n k"]:
        eye = jnp.eye(p.size - 1, dtype=p.dtype)
        return jnp.concatenate([eye, -jnp.ones((1, p.size - 1), p.dtype)])

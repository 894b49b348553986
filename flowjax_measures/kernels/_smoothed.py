r"""Means of kernels with a kink over Gaussians: integrals on a line of Gaussian kernels.

    φ(t) = E e^{−t‖Z‖²} = det(I + 2tΣ)^{−1/2} e^{−t zᵀ(I + 2tΣ)⁻¹z},   Z ~ N(z, Σ),

    E‖Z‖^r             = ∫_0^∞ −φ′(t) t^{−r/2} dt / Γ(1 − r/2)   for r > 0,
                       = ∫_0^∞ φ(t) t^{−r/2−1} dt / Γ(−r/2)      for −d < r < 0,
    E e^{−‖Z‖}         = ∫_0^∞ φ(t) t^{−3/2} e^{−1/(4t)} dt / (2√π),
    E (1 + ‖Z‖²)^{−p}  = ∫_0^∞ φ(t) t^{p−1} e^{−t} dt / Γ(p).

In log t the integrands are analytic and fall exponentially, so that equal steps have all digits; a
cubature of the Gaussian itself never sees the kink.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import erf, gammaln
from jaxtyping import Array, ArrayLike, Float

from .._custom_types import FloatScalar
from .._numerics import safe_sqrt

Vector = Float[Array, " d"]
Matrix = Float[Array, "d d"]

# Of ½ log t: the error is e^{−π²/(2h)}, 5e-15.
_STEP = 0.15


def mean_norm(z: Vector, cov: Matrix) -> FloatScalar:
    """E‖Z‖: on the line the mean of the folded normal."""
    if z.size > 1:
        return mean_norm_power(z, cov, 1.0)
    s, square = z[0], cov[0, 0]
    spread = square > 0
    sigma = safe_sqrt(square)
    u = s / jnp.where(spread, sigma, 1)
    folded = s * erf(u / jnp.sqrt(2)) + sigma * jnp.sqrt(2 / jnp.pi) * jnp.exp(-(u**2) / 2)
    return jnp.where(spread, folded, safe_sqrt(s**2))


def _on_grid(z: Vector, cov: Matrix):
    """E‖Z‖², the scale of it, nodes u, and `transform` at e^{2u} in that scale."""
    total = jnp.vdot(z, z) + jnp.trace(cov)
    scale = jax.lax.stop_gradient(jnp.where(total > 0, total, 1))
    u = _grid(-18.0, 30.0, z.dtype)
    return total, scale, u, transform(z, cov, jnp.exp(2 * u) / scale)


def mean_norm_power(z: Vector, cov: Matrix, r: ArrayLike) -> FloatScalar:
    """E‖Z‖^r for 0 < r < 2."""
    r = jnp.asarray(r, z.dtype)
    total, scale, u, (_, falls) = _on_grid(z, cov)
    # Below the grid −φ′ is its value at 0, and the steps are a geometric series.
    tail = jnp.exp((2 - r) * (u[0] - _STEP)) / -jnp.expm1(-(2 - r) * _STEP)
    whole = jnp.vdot(falls, jnp.exp((2 - r) * u)) + total * tail
    return 2 * _STEP * whole * scale ** (r / 2 - 1) * jnp.exp(-gammaln(1 - r / 2))


def mean_inverse_power(z: Vector, cov: Matrix, s: ArrayLike) -> FloatScalar:
    """E‖Z‖^{−s} for 0 < s < d."""
    s = jnp.asarray(s, z.dtype)
    _, scale, u, (phi, _) = _on_grid(z, cov)
    # Below the grid φ is 1, and above it falls as e^{−du}: both sums go on as geometric series.
    below = jnp.exp(s * (u[0] - _STEP)) / -jnp.expm1(-s * _STEP)
    last = phi[-1] * jnp.exp(s * u[-1])
    above = last / jnp.expm1((z.size - s) * _STEP)
    whole = jnp.vdot(phi, jnp.exp(s * u)) + below + above
    return 2 * _STEP * whole * scale ** (-s / 2) * jnp.exp(-gammaln(s / 2))


def mean_exponential(z: Vector, cov: Matrix, bandwidth: ArrayLike) -> FloatScalar:
    """E e^{−‖Z‖/h}."""
    h = jnp.asarray(bandwidth, z.dtype)
    u = _grid(-2.0, 36.0, z.dtype)
    phi, _ = transform(z, cov, jnp.exp(2 * u) / (4 * h**2))
    return 2 * _STEP / jnp.sqrt(jnp.pi) * jnp.vdot(phi, jnp.exp(-u - jnp.exp(-2 * u)))


def mean_multiquadric(z: Vector, cov: Matrix, bandwidth: ArrayLike, p: ArrayLike) -> FloatScalar:
    """E (1 + ‖Z‖²/h²)^{−p}."""
    h, p = (jnp.asarray(v, z.dtype) for v in (bandwidth, p))
    # φ differs from 1 where t‖Z‖² isn't small: the grid begins below that.
    scale = jax.lax.stop_gradient(jnp.vdot(z, z) + jnp.trace(cov)) / h**2
    v = 2 * _grid(-18.0, 20.0, z.dtype) - jnp.maximum(jnp.log1p(scale), 0)
    phi, _ = transform(z, cov, jnp.exp(v) / h**2)
    step = 2 * _STEP
    tail = jnp.exp(p * (v[0] - step)) / -jnp.expm1(-p * step)
    return step * (jnp.vdot(phi, jnp.exp(p * v - jnp.exp(v))) + tail) * jnp.exp(-gammaln(p))


def transform(z: Vector, cov: Matrix, t: Float[Array, " k"]):
    """φ and −φ′ at the times t."""
    eye = jnp.eye(z.size, dtype=z.dtype)

    def one(t):
        system = eye + 2 * t * cov
        pull = jnp.linalg.solve(system, jnp.column_stack([cov, z]))
        inner, u = pull[:, :-1], pull[:, -1]
        phi = jnp.exp(-jnp.linalg.slogdet(system)[1] / 2 - t * jnp.vdot(z, u))
        return phi, phi * (jnp.trace(inner) + jnp.vdot(u, u))

    return jax.vmap(one)(t)


def _grid(low: float, high: float, dtype) -> Float[Array, " k"]:
    return low + _STEP * jnp.arange(round((high - low) / _STEP), dtype=dtype)

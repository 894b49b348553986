r"""The modes Ĝ_n of `lost_in_the_middle`: Goursat's closed form, and the Volterra equation."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from ..._numerics import bessel_ratios


def number_of_modes(M: float | int, beta: ArrayLike) -> int:
    """Modes beyond have e^{−π²n²/2M²} < 1e-17, or n² I_n(β) < 1e-17 of the first."""
    by_vocabulary = math.ceil(2.85 * float(M)) + 1
    if isinstance(beta, Tracer):
        return min(by_vocabulary, 256)
    half = float(np.max(np.abs(beta))) / 2
    # I_n(β) ≤ (β/2)^n e^{β²/4(n+1)}/n!, and I_1(β) ≥ β/2.
    n, log_ratio = 1, 0.0
    while n < by_vocabulary and ((half > 0 and log_ratio > -40) or n < half):
        n += 1
        log_ratio = (n - 1) * math.log(half or 1) - math.lgamma(n + 1) + 2 * math.log(n)
        log_ratio += half**2 / (n + 1)
    return n


def bessel_i(beta: Float[Array, ""], terms: int) -> Float[Array, " n"]:
    """I_1(β), …, I_terms(β)."""
    return jax.scipy.special.i0(beta) * jnp.cumprod(bessel_ratios(beta, 0.0, terms))


def _relative_expm1(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """(e^x − 1)/x, 1 at 0."""
    small = jnp.abs(x) < 1e-3
    series = 1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5)))
    return jnp.where(small, series, jnp.expm1(x) / jnp.where(small, 1, x))


def by_bessel(at, lam, sigma0):
    """Ĝ_n(t, 1; σ₀) for at = a_n t by the closed form."""
    weight = jnp.exp(lam * sigma0) / _relative_expm1(lam)
    y = jnp.log(_relative_expm1(lam) / _relative_expm1(lam * sigma0)) - jnp.log(sigma0)
    return weight * at * jax.vmap(_kernel)(at * y)


def _kernel(z: Float[Array, ""]) -> Float[Array, ""]:
    """I_1(2√z)/√z = Σ_k z^k / (k! (k+1)!), smooth at 0."""
    small = z < 1
    low = jnp.where(small, z, 0)
    series = jnp.ones_like(z)
    for k in range(12, 0, -1):
        series = 1 + low * series / (k * (k + 1))
    finite = z < jnp.inf
    root = jnp.sqrt(jnp.where(small | ~finite, 1, z))
    large = jnp.where(finite, jax.scipy.special.i1(2 * root) / root, jnp.inf)
    return jnp.where(small, series, large)


def by_volterra(at, lam, sigma0, points: int = 48):
    """The same by collocation: Ĝ_n = ∫_0^{a_n t} e^{sK} ds Q(·, σ₀), K the Volterra operator."""
    nodes, integral = _integration(points)
    sigma = sigma0 + (1 - sigma0) * jnp.asarray(nodes, at.dtype)
    below = (1 - sigma0) * jnp.asarray(integral, at.dtype)

    def weight(source):
        """Q(σ, source) at all nodes σ."""
        return jnp.exp(lam * source) / (sigma * _relative_expm1(lam * sigma))

    operator = below * jax.vmap(weight, out_axes=1)(sigma)
    block = jnp.zeros((points + 1, points + 1), at.dtype)
    block = block.at[:points, :points].set(operator).at[:points, points].set(weight(sigma0))
    flow = lambda s: jax.scipy.linalg.expm(s * block, max_squarings=48)  # noqa: E731
    return jax.vmap(flow)(at)[:, points - 1, points]


def _integration(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes of [0, 1] from 0 to 1, and the matrix of ∫_0^x on them."""
    nodes = (1 - np.cos(np.pi * np.arange(points) / (points - 1))) / 2
    basis = np.polynomial.chebyshev.Chebyshev.basis
    values = np.stack([basis(k, domain=[0, 1])(nodes) for k in range(points)], 1)
    integrals = np.stack([basis(k, domain=[0, 1]).integ(lbnd=0)(nodes) for k in range(points)], 1)
    return nodes, integrals @ np.linalg.inv(values)

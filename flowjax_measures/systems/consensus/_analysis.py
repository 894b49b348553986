r"""Analysis steps of the ensemble Kalman filter ([evensen2003], [bishop2001], [hunt2007]).

An ensemble X (N, d) with images Y = h(X) (N, m) is conditioned on y = h(x) + N(0, R). Sample
covariances have divisor N − 1.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import PRNGKey
from ..._numerics._cubature import factor
from ._localization import thresholded_covariance

Ensemble = Float[Array, "n d"]


def stochastic_analysis(
    x: Ensemble,
    images: Float[Array, "n m"],
    y: Float[Array, " m"],
    noise_cov: Float[Array, "m m"],
    key: PRNGKey,
    localization: Any = None,
    weights: Float[Array, " n"] | None = None,
) -> Ensemble:
    r"""X + K(y + ε − Y), K = C_xy (C_yy + R)⁻¹, with ε ~ N(0, R) centred over the ensemble."""
    w, total = _shares(x, weights)
    a, b = x - w @ x, images - w @ images
    cross, square = (a.T * w) @ b / total, (b.T * w) @ b / total
    if isinstance(localization, str):
        cross, square = thresholded_covariance(x, images), thresholded_covariance(images)
    elif localization is not None:
        cross, square = localization[0] * cross, localization[1] * square
    noise = jax.random.normal(key, images.shape, images.dtype) @ factor(noise_cov).T
    # Centred, and scaled so that its covariance with divisor N − 1 stays R on average.
    noise = noise - w @ noise
    innovation = y + noise - images
    return x + jnp.linalg.solve(square + noise_cov, innovation.T).T @ cross.T


def square_root_analysis(
    x: Ensemble,
    images: Float[Array, "n m"],
    y: Float[Array, " m"],
    noise_cov: Float[Array, "m m"],
    taper: Float[Array, "d m"] | None = None,
    rotation_key: PRNGKey | None = None,
    weights: Float[Array, " n"] | None = None,
) -> Ensemble:
    r"""X̄ + A(w + W), W = (I + B R⁻¹ Bᵀ)^{−½}, w = B R⁻¹ (I + …)⁻¹ (y − Ȳ): exact moments.

    A and B are the deviations of X and Y over √(N − 1), or √(w_i/(1 − Σw²)) of those of weight
    w_i. With B R^{−½} = U S Vᵀ both are combinations of the columns of U, which are those of
    B R^{−½} V S⁻¹: no member's weight is divided by, and nothing of size N × N is formed (but by a
    rotation). With a taper every coordinate has its own analysis, with R⁻¹ weighed by its row.
    """
    n = x.shape[0]
    w, total = _shares(x, weights)
    mean, image = w @ x, w @ images
    deviations = (x - mean).T
    root = jnp.linalg.cholesky(noise_cov)
    whiten = lambda z: jax.scipy.linalg.solve_triangular(root, z, lower=True)  # noqa: E731
    b, innovation = whiten((images - image).T).T, whiten(y - image)
    scale = jnp.sqrt(w / total)
    turn = None if rotation_key is None else _rotation(rotation_key, n, x.dtype)

    def move(a, b, innovation):
        u, s, vt = jnp.linalg.svd(b * scale[:, None], full_matrices=False)
        inner = (a * scale) @ u
        shift = inner @ (s / (1 + s**2) * (vt @ innovation))
        # (1/√(1 + s²) − 1)/s without the division.
        stretch = -s / (jnp.sqrt(1 + s**2) * (1 + jnp.sqrt(1 + s**2)))
        shrunk = a + (inner * stretch) @ (vt @ b.T)
        shrunk = shrunk if turn is None else shrunk @ turn
        return shift[..., None] + shrunk

    if taper is None:
        return mean + move(deviations, b, innovation).T

    def one(row, a):
        return move(a, b * jnp.sqrt(row), innovation * jnp.sqrt(row))

    return mean + jax.vmap(one)(taper, deviations).T


def _shares(x: Ensemble, weights: Any) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """Normalised weights, and 1 − Σw², over which their covariances have no bias."""
    w = jnp.full(x.shape[0], 1 / x.shape[0], x.dtype) if weights is None else weights
    return w, 1 - jnp.sum(w**2)


def _rotation(key: PRNGKey, n: int, dtype) -> Float[Array, "n n"]:
    """A random orthogonal matrix that keeps the vector of ones, and with it the mean."""
    ones = jnp.ones((n, 1), dtype) / jnp.sqrt(jnp.asarray(n, dtype))
    normals = jax.random.normal(key, (n, n - 1), dtype)
    basis, _ = jnp.linalg.qr(jnp.concatenate([ones, normals], axis=1))
    inner, r = jnp.linalg.qr(jax.random.normal(jax.random.fold_in(key, 1), (n - 1, n - 1), dtype))
    inner = inner * jnp.sign(jnp.diagonal(r))
    rest = basis[:, 1:]
    return ones @ ones.T + rest @ inner @ rest.T

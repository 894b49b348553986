r"""Analysis steps of the ensemble Kalman filter ([evensen2003], [bishop2001], [hunt2007]).

An ensemble X (N, d) with images Y = h(X) (N, m) is conditioned on y = h(x) + N(0, R). Sample
covariances have divisor N − 1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import PRNGKey
from ..._numerics._cubature import factor

Ensemble = Float[Array, "n d"]


def gaspari_cohn(r: Float[Array, "..."]) -> Float[Array, "..."]:
    """The compact correlation function of [gaspari1999] at r = distance/c: 1 at 0, 0 from 2 on."""
    r = jnp.abs(r)
    near = 1 - 5 / 3 * r**2 + 5 / 8 * r**3 + r**4 / 2 - r**5 / 4
    safe = jnp.where(r > 0, r, 1)
    far = 4 - 5 * r + 5 / 3 * r**2 + 5 / 8 * r**3 - r**4 / 2 + r**5 / 12 - 2 / (3 * safe)
    return jnp.where(r <= 1, near, jnp.where(r < 2, far, 0))


def stochastic_analysis(
    x: Ensemble,
    images: Float[Array, "n m"],
    y: Float[Array, " m"],
    noise_cov: Float[Array, "m m"],
    key: PRNGKey,
    localization: tuple[Float[Array, "d m"], Float[Array, "m m"]] | None = None,
) -> Ensemble:
    r"""X + K(y + ε − Y), K = C_xy (C_yy + R)⁻¹, with ε ~ N(0, R) centred over the ensemble."""
    n = x.shape[0]
    a, b = x - jnp.mean(x, axis=0), images - jnp.mean(images, axis=0)
    cross, square = a.T @ b / (n - 1), b.T @ b / (n - 1)
    if localization is not None:
        cross, square = localization[0] * cross, localization[1] * square
    noise = jax.random.normal(key, images.shape, images.dtype) @ factor(noise_cov).T
    # Centred, and scaled so that its covariance with divisor N − 1 stays R on average.
    noise = noise - jnp.mean(noise, axis=0)
    innovation = y + noise - images
    return x + jnp.linalg.solve(square + noise_cov, innovation.T).T @ cross.T


def square_root_analysis(
    x: Ensemble,
    images: Float[Array, "n m"],
    y: Float[Array, " m"],
    noise_cov: Float[Array, "m m"],
    taper: Float[Array, "d m"] | None = None,
    rotation_key: PRNGKey | None = None,
) -> Ensemble:
    r"""X̄ + A(w + W), W = (I + B R⁻¹ Bᵀ)^{−½}, w = B R⁻¹ (I + …)⁻¹ (y − Ȳ): exact moments.

    A and B are the deviations of X and Y over √(N − 1). With B R^{−½} = U S Vᵀ both are
    combinations of the columns of U, and nothing of size N × N is formed (but by a rotation).
    With a taper every coordinate has its own analysis, with R⁻¹ weighed by its row.
    """
    n = x.shape[0]
    mean = jnp.mean(x, axis=0)
    deviations = (x - mean).T
    root = jnp.linalg.cholesky(noise_cov)
    b = (images - jnp.mean(images, axis=0)) / jnp.sqrt(jnp.asarray(n - 1, x.dtype))
    b = jax.scipy.linalg.solve_triangular(root, b.T, lower=True).T
    innovation = y - jnp.mean(images, axis=0)
    innovation = jax.scipy.linalg.solve_triangular(root, innovation, lower=True)
    turn = None if rotation_key is None else _rotation(rotation_key, n, x.dtype)

    def move(a, b, innovation):
        u, s, vt = jnp.linalg.svd(b, full_matrices=False)
        inner = a @ u
        shift = inner @ (s / (1 + s**2) * (vt @ innovation))
        shrunk = a + (inner * (1 / jnp.sqrt(1 + s**2) - 1)) @ u.T
        shrunk = shrunk if turn is None else shrunk @ turn
        return shift[..., None] / jnp.sqrt(jnp.asarray(n - 1, x.dtype)) + shrunk

    if taper is None:
        return mean + move(deviations, b, innovation).T

    def one(row, a):
        return move(a, b * jnp.sqrt(row), innovation * jnp.sqrt(row))

    return mean + jax.vmap(one)(taper, deviations).T


def _rotation(key: PRNGKey, n: int, dtype) -> Float[Array, "n n"]:
    """A random orthogonal matrix that keeps the vector of ones, and with it the mean."""
    ones = jnp.ones((n, 1), dtype) / jnp.sqrt(jnp.asarray(n, dtype))
    normals = jax.random.normal(key, (n, n - 1), dtype)
    basis, _ = jnp.linalg.qr(jnp.concatenate([ones, normals], axis=1))
    inner, r = jnp.linalg.qr(jax.random.normal(jax.random.fold_in(key, 1), (n - 1, n - 1), dtype))
    inner = inner * jnp.sign(jnp.diagonal(r))
    rest = basis[:, 1:]
    return ones @ ones.T + rest @ inner @ rest.T

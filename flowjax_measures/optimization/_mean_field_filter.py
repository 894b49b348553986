r"""Kalman filters of laws, the limits of infinitely many members ([carrillo2024kalman]).

A forecast is μ̂ = M#μ * N(0, Q), the analysis the law of x + K(y + η − h(x)) with η ~ N(0, R) and
the gain K of μ̂. From a Gaussian it is projected onto Gaussians, and is Kalman's filter where M and
h are affine; from a density on a grid it is that law itself, or the true filter.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..measures import Gaussian, GridDensity
from ..measures._base import replace


def forecast(mu: Any, dynamics: Callable, model_cov: Float[Array, "d d"] | None) -> Any:
    """The law of M(x) + N(0, Q)."""
    if isinstance(mu, Gaussian):
        mean = mu.mean(dynamics)
        cov = mu.mean(lambda x: _outer(dynamics(x) - mean, dynamics(x) - mean))
        return Gaussian(mean, cov if model_cov is None else cov + model_cov)
    return _spread(mu, jax.vmap(dynamics), model_cov)


def analysis(
    mu: Any,
    observe: Callable,
    y: Float[Array, " m"],
    noise_cov: Float[Array, "m m"],
    there: Bool[Array, " m"],
    form: str,
) -> Any:
    """The law that knows y."""
    sees = lambda x: jnp.where(there, jnp.ravel(observe(x)), 0)  # noqa: E731
    if form == "exact":
        return _bayes(mu, sees, y, noise_cov)
    image, point = mu.mean(sees), mu.mean()
    cross = mu.mean(lambda x: _outer(x - point, sees(x) - image))
    square = mu.mean(lambda x: _outer(sees(x) - image, sees(x) - image)) + noise_cov
    gain = jnp.linalg.solve(square, cross.T).T
    if isinstance(mu, Gaussian):
        cov = mu.cov - gain @ cross.T
        return Gaussian(point + gain @ (y - image), (cov + cov.T) / 2)
    return _spread(mu, jax.vmap(lambda x: x + gain @ (y - sees(x))), gain @ noise_cov @ gain.T)


def _outer(a: Float[Array, " p"], b: Float[Array, " q"]) -> Float[Array, "p q"]:
    return jnp.outer(a, b)


def _spread(mu: GridDensity, move: Callable, cov: Float[Array, "d d"] | None) -> GridDensity:
    """The density of moved points with Gaussian noise: a sum of one Gaussian for each cell.

    Each is given the mass of its cell and a width that is at least that of the cell.
    """
    cells = mu.centres().reshape(-1, mu.lower.size)
    moved, masses = move(cells), jnp.exp(mu.atoms()[1])
    own = jnp.diag(mu.spacing**2 / 4)
    cov = own if cov is None else cov + own * 1e-3
    root = jnp.linalg.cholesky(cov)
    white = lambda z: jax.scipy.linalg.solve_triangular(root, z.T, lower=True).T  # noqa: E731
    here, there = white(cells), white(moved)
    square = jnp.sum(here**2, 1)[:, None] + jnp.sum(there**2, 1)[None] - 2 * here @ there.T
    # Columns are made to sum to one: no mass is lost between cells or at the walls.
    shares = jax.nn.softmax(-square / 2, axis=0)
    rho = (shares @ masses).reshape(mu.rho.shape) / mu.cell
    return replace(mu, rho=rho)


def _bayes(mu: GridDensity, sees: Callable, y: Array, noise_cov: Array) -> GridDensity:
    """Bayes' rule, cell by cell."""
    cells = mu.centres().reshape(-1, mu.lower.size)
    gaps = jax.vmap(lambda x: y - sees(x))(cells)
    energy = jnp.sum(gaps.T * jnp.linalg.solve(noise_cov, gaps.T), axis=0) / 2
    logs = mu.atoms()[1] - energy
    rho = jax.nn.softmax(logs).reshape(mu.rho.shape) / mu.cell
    return replace(mu, rho=rho)

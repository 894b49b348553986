r"""Noise that is a function: Gaussian processes on the points of a grid ([lim2023]).

X(p_1), …, X(p_n) of a process with covariance k(p, q) is N(0, C), C_ij = k(p_i, p_j), on any grid
the same process. As the source and, by C, as the `preconditioner` of a `StochasticInterpolant` it
makes a diffusion of functions: all of its modes relax at the same rate, and the number of steps
doesn't grow with the grid, as it does under white noise. Beyond some hundred points
the first modes of X = Σ_k √λ_k ξ_k φ_k, ∫ k(p, q) φ_k(q) dq = λ_k φ_k, tell the same law.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import Count
from ..._numerics import checked
from ...kernels._base import Kernel
from ...measures import Gaussian


@checked
def gaussian_process(kernel: Kernel, points: Float[Array, "n k"]) -> Gaussian:
    """The values of a centred Gaussian process with covariance `kernel` at `points`.

    !!! example

        ```python
        fm.gaussian_process(fm.GaussianKernel(0.2), jnp.linspace(0, 1, 16)[:, None]).sample(
            key, 3
        )
        ```
    """
    cov = _matrix(kernel, points, points)
    return Gaussian(jnp.zeros(len(points), cov.dtype), (cov + cov.T) / 2)


class Modes(NamedTuple):
    """λ, and φ at the points: Σ_k λ_k φ_k(p) φ_k(q) ≈ k(p, q).

    !!! example

        `fm.karhunen_loeve(fm.GaussianKernel(0.2), jnp.linspace(0, 1, 16)[:, None], 4).values`
    """

    values: Float[Array, " r"]
    functions: Float[Array, "n r"]


@checked
def karhunen_loeve(
    kernel: Kernel,
    points: Float[Array, "n k"],
    rank: Count,
    weights: Float[Array, " n"] | None = None,
) -> Modes:
    r"""The first modes of a process; its coefficients √λ_k ξ_k are the same on every fine grid.

    A flow of functions may run in the coefficients: r numbers, whatever the grid.

    **Arguments:** `kernel`: the covariance. `points`: of the grid. `rank`: r. `weights`: of a
    quadrature on the points; 1/n by default.

    !!! example

        `values, modes = fm.karhunen_loeve(fm.GaussianKernel(0.2), points, 20)`, and
        `modes @ (values**0.5 * jr.normal(key, (20,)))` is a draw.
    """
    n = len(points)
    if not 1 <= rank <= n:
        raise ValueError(f"`rank` is {rank}; give a number of modes from 1 to {n}.")
    root = jnp.sqrt(jnp.full(n, 1 / n, points.dtype) if weights is None else weights)
    cov = root[:, None] * _matrix(kernel, points, points) * root
    values, vectors = jnp.linalg.eigh((cov + cov.T) / 2)
    functions = vectors[:, ::-1][:, :rank] / root[:, None]
    # Of both signs the one with a positive sum: modes of two grids are comparable.
    sign = jnp.where(jnp.sum(functions * root[:, None], axis=0) < 0, -1, 1).astype(points.dtype)
    return Modes(jnp.maximum(values[::-1][:rank], 0), functions * sign)


def _matrix(kernel: Any, x, y) -> Array:
    return jax.vmap(lambda p: jax.vmap(lambda q: kernel(p, q))(y))(x)

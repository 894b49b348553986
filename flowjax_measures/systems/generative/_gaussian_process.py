r"""Noise that is a function: Gaussian processes on the points of a grid ([lim2023]).

X(p_1), …, X(p_n) of a process with covariance k(p, q) is N(0, C), C_ij = k(p_i, p_j). As the source
and, by C, as the `preconditioner` of a `StochasticInterpolant` it makes a diffusion of functions:
all of its modes relax at the same rate, and the number of steps doesn't grow with the grid, as it
does under white noise.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...kernels._base import Kernel
from ...measures import Gaussian


def gaussian_process(kernel: Kernel, points: Float[Array, "n k"]) -> Gaussian:
    """The values of a centred Gaussian process with covariance `kernel` at `points`."""
    cov: Any = jax.vmap(lambda p: jax.vmap(lambda q: kernel(p, q))(points))(points)
    return Gaussian(jnp.zeros(len(points), cov.dtype), cov)

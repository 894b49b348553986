r"""The likelihood of summaries of a population, from populations that are simulated.

Of P simulated populations the summaries s have the mean m_θ and the covariance C_θ; that of the
observed one is taken as normal ([wood2010]), with the inverse of C_θ made unbiased ([hartlap2007]):

    −log L = ½ (P − S − 2)/(P − 1) · P/(P + 1) · (s − m_θ)ᵀ C_θ⁻¹ (s − m_θ) + ½ log det C_θ.

A distance of measures weighs directions as the metric does, whatever their sampling noise; the
likelihood weighs each by what it tells.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from ..kernels import GaussianKernel
from ..kernels._base import correlate
from ..measures import AbstractMeasure, Particles

# Bandwidths of the pair correlations, in widths of the data.
_SCALES = (0.125, 0.25, 0.5, 1.0)
# Where a summary is the same in all populations; relative to its variance.
_RIDGE = 1e-9


class Summaries(eqx.Module):
    """Mean, covariance, fourth moment of the distance to the mean, and pair correlations.

    **Arguments:** `width`: the unit of length, a number.
    """

    width: Any

    def __call__(self, mu: AbstractMeasure) -> Float[Array, " s"]:
        mean, cov = mu.mean(), mu.covariance()
        fourth = mu.mean(lambda x: jnp.sum(((x - mean) / self.width) ** 2) ** 2)
        kernels = [GaussianKernel(scale * self.width) for scale in _SCALES]
        pairs = [correlate(kernel, mu, mu) for kernel in kernels]
        triangle = cov[jnp.triu_indices(len(cov))] / self.width**2
        return jnp.concatenate([mean / self.width, triangle, jnp.stack([fourth, *pairs])])


def summary_likelihood(
    summaries: Callable[[Any], Array], populations: Particles, observed: AbstractMeasure
) -> FloatScalar:
    """−log L of an observed population; `populations` are stacked along a leading axis."""
    found = jax.vmap(summaries)(populations)
    count, size = found.shape
    if count < size + 3:
        raise ValueError(
            f"`initial` holds {count} populations, but {size} summaries have a covariance that is "
            f"known from {size + 3} or more; give more populations or fewer `summaries`."
        )
    mean = jnp.mean(found, axis=0)
    residual = found - mean
    cov = residual.T @ residual / (count - 1)
    spread = jnp.diag(cov)
    floor = jnp.finfo(cov.dtype).tiny
    root = jnp.linalg.cholesky(cov + jnp.diag(_RIDGE * spread + floor))
    z = jax.scipy.linalg.solve_triangular(root, summaries(observed) - mean, lower=True)
    known = (count - size - 2) / (count - 1) * count / (count + 1)
    return known * jnp.vdot(z, z) / 2 + jnp.sum(jnp.log(jnp.diag(root)))

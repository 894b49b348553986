r"""How far a pathwise gradient of a random run can be trusted.

The derivative of a run with its noise held fixed is exact, and its mean over the noise is the
derivative of the mean, when that mean exists. Through rugged objectives it has heavy tails: a few
runs carry all of it, and the average over any number of them says nothing. Differences of the mean
with common random numbers don't care, for a step that is long beside the ruggedness.
"""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .._custom_types import Count, PRNGKey, Scalar
from .._numerics import checked, jitted
from ..measures._base import concrete


class GradientSpread(eqx.Module):
    """What `gradient_spread` returns, of the structure of the parameters.

    - `mean`, `error`: of the pathwise gradients over runs, and its standard error.
    - `difference`, `difference_error`: of central differences with the same noise on both sides.
    - `share`: of the sum of squared pathwise gradients, what the largest run alone contributes:
      about 2 log(runs)/runs for Gaussian ones, near 1 for heavy tails.

    !!! example

        `fm.gradient_spread(lambda p, key: jnp.sum(p * jr.normal(key)), jnp.ones(2), key=key)`
    """

    mean: PyTree
    error: PyTree
    difference: PyTree
    difference_error: PyTree
    share: Float[Array, ""]


@checked
def gradient_spread(
    loss: Callable[[Any, PRNGKey], Any],
    parameters: PyTree,
    *,
    key: PRNGKey,
    runs: Count = 64,
    step: Scalar = 0.05,
) -> GradientSpread:
    """Pathwise gradients over many runs beside differences with common random numbers.

    Warns where one run carries more than half of the sum of squares, or where the mean is not
    three standard errors from zero although the difference is.

    **Arguments:**

    - `loss`: function of the parameters and a key to a scalar; it simulates.
    - `parameters`: a number, an array or a pytree of them.
    - `key`: a JAX key. `runs`: how many.
    - `step`: half the distance of the two points of a difference, in every parameter.

    !!! example

        `gradient_spread(lambda sigma, key: f(consensus_of_a_run(sigma, key)), 0.6, key=key)`
    """
    flat, unravel = ravel_pytree(jax.tree.map(lambda a: jnp.asarray(a, float), parameters))
    keys = jax.random.split(key, runs)

    @jitted
    def both(flat, keys):
        value = lambda z, k: loss(unravel(z), k)  # noqa: E731
        slopes = jax.vmap(jax.grad(value), (None, 0))(flat, keys)
        shifted = lambda k, e: value(flat + step * e, k) - value(flat - step * e, k)  # noqa: E731
        axes = jnp.eye(flat.size, dtype=flat.dtype)
        # One parameter after the other: the memory of two runs of all keys.
        gaps = jax.lax.map(lambda e: jax.vmap(lambda k: shifted(k, e))(keys), axes)
        return slopes, gaps.T / (2 * step)

    slopes, gaps = both(flat, keys)
    squares = jnp.sum(slopes**2, axis=1)
    root = jnp.sqrt(jnp.asarray(runs, flat.dtype))
    mean, error = jnp.mean(slopes, axis=0), jnp.std(slopes, axis=0) / root
    difference, noise = jnp.mean(gaps, axis=0), jnp.std(gaps, axis=0) / root
    largest = jnp.max(squares)
    share = jnp.where(largest > 0, largest / jnp.sum(squares), 0)
    if concrete(share):
        lost = jnp.any((abs(difference) > 3 * noise) & ~(abs(mean) > 3 * error))
        if not jnp.isfinite(share) or share > 0.5 or lost:
            warnings.warn(
                f"Pathwise gradients have heavy tails: the largest of {runs} runs carries "
                f"{100 * float(share):.0f}% of their squares. Use `difference` (common random "
                'numbers), or gradient="weights_stopped" in ConsensusBased, which is biased.',
                stacklevel=2,
            )
    return GradientSpread(unravel(mean), unravel(error), unravel(difference), unravel(noise), share)

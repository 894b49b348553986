r"""The mean of the worst: conditional value at risk ([rockafellar2000]).

CVaR_α(Z) = min_c c + E(Z − c)₊/(1 − α), the mean of Z over the share 1 − α of its largest values
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from .._numerics import checked
from ..measures._base import concrete


@checked
def conditional_value_at_risk(
    values: Float[Array, " n"], level: Scalar, weights: Float[Array, " n"] | None = None
) -> FloatScalar:
    """CVaR of numbers: their mean at `level` 0, the largest of them at 1.

    Of one of them a part may count. Differentiable in the values.

    **Arguments:** `values`: the numbers. `level`: α, in [0, 1]. `weights`: their masses, whose sum
    counts as 1; `None` is equal masses.

    **Raises:** `ValueError` for another level; NaN in compiled code.

    !!! example

        `fm.conditional_value_at_risk(jnp.array([1.0, 4.0, 2.0, 3.0]), 0.5)`
    """
    if concrete(level) and not 0 <= float(level) <= 1:
        raise ValueError(f"`level` is {level}; give a number in [0, 1].")
    level = jnp.asarray(level, values.dtype)
    level = jnp.where((level >= 0) & (level <= 1), level, jnp.nan)
    masses = jnp.ones_like(values) if weights is None else weights.astype(values.dtype)
    masses = masses / jnp.sum(masses)
    values = jnp.where(masses == 0, 0, values)
    order = jnp.argsort(jnp.where(masses == 0, jnp.inf, -values))
    values, masses = values[order], masses[order]
    # At level 1 the first has all of a share that is next to nothing.
    rest = jnp.maximum(1 - level, jnp.finfo(values.dtype).tiny ** 0.5)
    before = jnp.cumsum(masses) - masses
    return jnp.sum(jnp.clip(rest - before, 0, masses) / rest * values)

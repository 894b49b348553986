r"""Conditional optimal transport: measures on [0, 1] × R^d whose depths don't mix ([barboni2024]).

D(μ, ν)² = ∫_0^1 W_2(μ_s, ν_s)² ds
"""

import math

import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar
from .._numerics import checked, safe_sqrt
from ..measures import Particles
from ._exact import wasserstein


@checked
def conditional_wasserstein(mus: Particles, nus: Particles) -> FloatScalar:
    """The conditional distance between layer laws, each constant on its share of the depth.

    **Arguments:** `mus`, `nus`: particles whose leaves have one more axis in front, the layers, as
    `ResidualWeights.laws()` gives them. The numbers of layers may differ.

    !!! example

        ```python
        fm.conditional_wasserstein(
            *[fm.Particles(jr.normal(jr.key(s), (3, 8, 2))) for s in (0, 1)]
        )
        ```
    """
    depths = [jax.tree.leaves(m.x)[0].shape[0] for m in (mus, nus)]
    common = math.lcm(*depths)
    pairs = sorted({tuple(i * depth // common for depth in depths) for i in range(common)})
    layer = lambda m, i: jax.tree.map(lambda a: a[i], m)  # noqa: E731
    total = jnp.zeros(())
    for i, j in pairs:
        # The overlap of [i/K, (i+1)/K) and [j/L, (j+1)/L).
        share = min((i + 1) / depths[0], (j + 1) / depths[1]) - max(i / depths[0], j / depths[1])
        total = total + share * wasserstein(layer(mus, i), layer(nus, j)) ** 2
    return safe_sqrt(total)

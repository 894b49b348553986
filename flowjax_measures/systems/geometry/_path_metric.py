"""Distances along paths through a cloud, for which dense regions are small."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import Scalar
from ..._numerics import checked, safe_power


@checked
def path_metric(x: Float[Array, "n d"], power: Scalar) -> Float[Array, "n n"]:
    r"""The power-weighted path metric ℓ_p(x, y) = min (Σ ‖x_k − x_{k+1}‖^p)^{1/p} ([little2022]).

    The minimum is over paths through the points. p = 1 is the Euclidean distance, p → ∞ the longest
    leg of the best path. For n samples of a density ρ in d dimensions n^{(p−1)/(pd)} ℓ_p tends to
    a constant times (inf ∫ ρ^{−(p−1)/d})^{1/p}: dense regions are small.

    **Arguments:** `x`: the points, some hundreds; `power`: p ≥ 1.

    !!! example

        `fm.path_metric(mu.x, 2.0)`
    """
    square = jnp.sum((x[:, None] - x[None]) ** 2, axis=-1)
    length = safe_power(square, power / 2)
    # Floyd's algorithm: paths may pass through one vertex more.

    def pass_through(length, k):
        return jnp.minimum(length, length[:, k, None] + length[None, k]), None

    return safe_power(jax.lax.scan(pass_through, length, jnp.arange(len(x)))[0], 1 / power)

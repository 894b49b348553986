r"""How far the last layer of a classifier is from collapse ([papyan2020]).

    tr(Σ_W Σ_B⁺)/K,   ‖M Mᵀ/‖M Mᵀ‖ − P/‖P‖‖,   ‖W/‖W‖ − M/‖M‖‖,   P = I − 11ᵀ/K

of the covariances within and between K classes and the classes' centred means, rows of M.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._numerics import checked


class NeuralCollapse(NamedTuple):
    """How far features and weights are from collapse; all are 0 there.

    - `variability`: tr(Σ_W Σ_B⁺)/K, the covariance within classes over that between them.
    - `simplex`: the distance of the normalised Gram matrix of the classes' centred means from that
      of a simplex, in Frobenius' norm.
    - `duality`: the distance of weights and centred means, both of norm one; None without weights.

    !!! example

        `fm.neural_collapse(jr.normal(key, (8, 3)), jnp.arange(8) % 2)`
    """

    variability: Float[Array, ""]
    simplex: Float[Array, ""]
    duality: Float[Array, ""] | None


@checked
def neural_collapse(
    features: Float[Array, "n d"],
    labels: Int[Array, " n"],
    weights: Float[Array, "k d"] | None = None,
) -> NeuralCollapse:
    """Measures the collapse of the last layer of any classifier.

    **Arguments:** `features`: of each example. `labels`: their classes 0, …, K − 1, each with an
    example. `weights`: W of the last layer, shape (K, d).

    !!! example

        `fm.neural_collapse(H.T, law.labels, W).variability`
    """
    classes = int(np.max(labels)) + 1
    member = jax.nn.one_hot(labels, classes, dtype=features.dtype)
    means = (member.T @ features) / jnp.sum(member, 0)[:, None]
    centred = means - jnp.mean(means, 0)
    within = features - means[labels]
    between = centred.T @ centred / classes
    # Directions in which the means do not differ are not counted.
    share = 10 * len(between) * jnp.finfo(between.dtype).eps
    inverse = jnp.linalg.pinv(between, rtol=share, hermitian=True)
    variability = jnp.trace(within.T @ within / len(features) @ inverse) / classes
    gram = centred @ centred.T
    simplex = jnp.eye(classes, dtype=gram.dtype) - 1 / classes
    unit = lambda a: a / jnp.linalg.norm(a)  # noqa: E731
    gap = jnp.linalg.norm(unit(gram) - unit(simplex))
    if weights is None:
        return NeuralCollapse(variability, gap, None)
    if weights.shape != means.shape:
        raise ValueError(
            f"`weights` has shape {weights.shape}; give W of shape {means.shape}, a row a class."
        )
    rows = weights - jnp.mean(weights, 0)
    return NeuralCollapse(variability, gap, jnp.linalg.norm(unit(rows) - unit(centred)))

r"""The slow drift of SGD along a valley of minima ([li2022]).

    θ̇ = −½ η s_b (P ∇tr(∇²R S) + H⁺ ∇tr(∇²R C_∥)),   (λ_i + λ_j) S_ij = C_ij,

at a point of a manifold of minima, in the eigenbasis of H = ∇²R, with C the covariance of the
gradient of one example, C_∥ its block along the valley, P the projection onto the valley and s_b
the variance of a minibatch mean over that of one example. It is ½ η s_b ∂²Φ[C], Φ(θ) the end of the
gradient flow from θ. With label noise C is a multiple of H, and θ slides down the trace of H.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from ..._custom_types import Point, Positive
from ..._numerics import checked
from ._examples import (
    Loss,
    check_data,
    gradient_covariance,
    number_of_examples,
    risk_gradient,
    thinning,
)


@checked
def valley_drift(
    loss: Loss,
    data: PyTree,
    eta: Positive,
    batch: Positive,
    params: Point,
    replacement: bool = True,
    flat: float = 1e-6,
) -> Any:
    r"""The mean velocity of SGD along the valley of minima through `params`.

    To leading order in η, in time kη after k steps. It vanishes where every example is fitted.
    Builds the Hessian.

    **Arguments:** in the order of `sgd_moments`; `params`: a minimum of the risk, of the structure
    of the result; `flat`: eigenvalues of H below this part of the largest are along the valley.

    !!! example

        ```python
        loss = lambda p, y: (p[0] * p[1] - y) ** 2 / 2
        labels = jnp.array([0.5, 1.5])          # of mean one and variance 1/4
        fm.valley_drift(loss, labels, 0.01, 1, jnp.array([2.0, 0.5]))
        # −η/16 of the part of ∇(p_0² + p_1²) along p_0 p_1 = 1
        ```
    """
    check_data(data)
    if not all(map(eqx.is_inexact_array, jax.tree.leaves(params))):
        raise ValueError("`params` holds what are no arrays of floats; give arrays alone.")
    share = thinning(number_of_examples(data), batch, replacement)
    point, unravel = ravel_pytree(params)
    risk = lambda x: ravel_pytree(risk_gradient(loss, data, unravel(x)))[0]  # noqa: E731
    hessian = jax.jacfwd(risk)
    values, vectors = jnp.linalg.eigh(hessian(point))
    along = jnp.abs(values) <= flat * jnp.max(jnp.abs(values))
    covariance = vectors.T @ gradient_covariance(loss, data, params) @ vectors
    both = along[:, None] & along[None, :]
    sums = values[:, None] + values[None, :]
    spread = jnp.where(both, 0, covariance / jnp.where(both, 1, sums))

    def slope(s):
        return jax.grad(lambda x: jnp.sum(hessian(x) * (vectors @ s @ vectors.T)))(point)

    slide = jnp.where(along, vectors.T @ slope(spread), 0)
    bend = vectors.T @ slope(jnp.where(both, covariance, 0))
    bend = jnp.where(along, 0, bend / jnp.where(along, 1, values))
    scale = -jnp.asarray(eta, point.dtype) * jnp.asarray(share, point.dtype) / 2
    return unravel(scale * (vectors @ (slide + bend)))

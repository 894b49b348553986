r"""The step size up to which SGD is stable in mean square ([mulayoff2023]).

Near a minimum that fits every example, or on linear regression, the second moment M of the error
goes to (I − ηT + η²K) M with

    T M = HM + MH,   K M = (1 − s_b) HMH + s_b (1/n) Σ_i H_i M H_i,

H_i the Hessians of the examples, H their mean and s_b the variance of a minibatch mean over that of
one example. That is stable if and only if η < 1/λ_max(T⁻¹K); without noise it is 2/λ_max(H).
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..._custom_types import FloatScalar, Point
from ..._numerics import checked
from ._examples import Loss, check_data, number_of_examples, thinning


@checked
def stability_threshold(
    loss: Loss, data: PyTree, batch: Any, params: Any, replacement: bool = True
) -> Float[Array, ""]:
    r"""The largest step size η at which SGD at `params` is stable in mean square.

    Builds a (d², d²) matrix: for up to some tens of parameters.

    **Arguments:** in the order of `sgd_moments`; `params`: the minimum. `params` before `batch`, as
    it once was, is understood with a warning.

    !!! example

        `stability_threshold(loss, data, 8, theta)` is the η at which `contraction` is 1.
    """
    if _is_size(params) and not _is_size(batch):
        told = "`stability_threshold` takes `batch` before `params`, as other functions of SGD do."
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        batch, params = params, batch
    gain, sums = _operators(loss, data, params, batch, replacement)
    # Directions that no example sees stay where they are.
    seen = sums > len(sums) ** 0.5 * jnp.finfo(sums.dtype).eps * jnp.max(jnp.abs(sums))
    root = jnp.where(seen, 1 / jnp.sqrt(jnp.where(seen, sums, 1)), 0)
    return 1 / jnp.linalg.eigvalsh(root[:, None] * gain * root[None, :])[-1]


@checked
def contraction(
    loss: Loss,
    data: PyTree,
    eta: FloatScalar,
    batch: FloatScalar,
    params: Point,
    replacement: bool = True,
) -> Float[Array, ""]:
    r"""The factor of the mean square error in one step of size η, at long last.

    The spectral radius of I − ηT + η²K: below 1 where SGD is stable, 1 at the `stability_threshold`
    (and wherever no example sees some direction). Builds a (d², d²) matrix.

    **Arguments:** in the order of `sgd_moments`; `params`: the minimum.

    !!! example

        `contraction(loss, data, 0.1, 8, theta)` is E‖θ_{k+1} − θ‖² / E‖θ_k − θ‖² for large k.
    """
    gain, sums = _operators(loss, data, params, batch, replacement)
    eta = jnp.asarray(eta, gain.dtype)
    step = jnp.diag(1 - eta * sums) + eta**2 * gain
    return jnp.max(jnp.abs(jnp.linalg.eigvalsh((step + step.T) / 2)))


def _is_size(value: Any) -> bool:
    """Whether an argument is how many examples a batch has, not a parameter."""
    return isinstance(value, int | np.integer)


def _operators(loss, data, params, batch, replacement):
    """K, and the diagonal of T, in the eigenbasis of H."""
    check_data(data)
    share = thinning(number_of_examples(data), batch, replacement)
    flat, unravel = ravel_pytree(params)
    hessian = jax.hessian(lambda x, example: loss(unravel(x), example))
    each = jax.vmap(lambda example: hessian(flat, example))(data)
    mean = each.mean(0)
    values, vectors = jnp.linalg.eigh(mean)
    rotated = vectors.T @ each @ vectors
    # Both operators in the eigenbasis of H, where T is diagonal.
    squares = jnp.einsum("nij,nkl->ikjl", rotated, rotated) / each.shape[0]
    squares = squares.reshape(flat.size**2, -1)
    gain = share * squares + (1 - share) * jnp.kron(jnp.diag(values), jnp.diag(values))
    sums = (values[:, None] + values[None, :]).ravel()
    return gain, sums

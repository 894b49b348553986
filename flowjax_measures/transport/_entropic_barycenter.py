r"""Entropic barycentres of densities on a grid ([benamou2015], [janati2020barycenters]).

    argmin_μ Σ_k λ_k min_π ∫ c dπ + ε ∫ log π dπ   over plans π of μ and ν_k

The plans are b_k K a_k with K = e^{−c/ε}, a product over the axes, and

    a_k = ν_k / K b_k,   μ = d Π_k (K a_k)^{λ_k},   b_k = μ / K a_k,   d = 1,

iterated with Anderson mixing. It is blurred by about √ε; with d = (d μ / K d)^{1/2} it is the
barycentre of Sinkhorn divergences, which has no blur. Marginals that may differ at the price λ KL
take a_k and b_k to the power τ = λ/(λ + ε), and a power mean in place of the product.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from .._custom_types import Count, Scalar
from .._numerics import checked, jitted
from .._numerics._anderson import Anderson
from .._numerics._checks import check_positive
from ..energies._pairs import lattices, log_product
from ..measures import GridDensity
from ..measures._base import concrete, replace
from ._barycenter import _shares
from ._masses import comparable

# Iterates that are mixed. Without the blur empty cells draw d away for ever, which mixing upsets.
_MEMORY = 6


@checked
def entropic_barycenter(
    measures: Sequence[GridDensity],
    epsilon: Scalar,
    weights: ArrayLike | Sequence[float] | None = None,
    *,
    debiased: bool = False,
    strength: Scalar | None = None,
    iterations: Count = 3000,
    tol: float | None = None,
) -> GridDensity:
    r"""The barycentre of densities on one grid, in any dimension and with any periods of grids.

    It is differentiated forward, by `jax.jvp` and `jax.jacfwd`.

    **Arguments:** `measures`: densities on the same cells. `epsilon`: ε > 0, in the units of
    ‖x − y‖². `weights`: λ_k, divided by their sum; equal by default. `debiased`: whether the blur
    is taken off; where such a barycentre is empty it is approached slowly, like 1/`iterations`.
    `strength`: λ, where masses may differ, and be made at the price λ KL. `iterations`: at most.
    `tol`: the mass that the plans have at wrong places when it ends; √ε of the floats by default.

    **Raises:** `ValueError` for measures that don't belong together; `RuntimeError` where it has
    not converged (NaN in compiled code).

    !!! example

        `fm.entropic_barycenter([grid, grid], 1e-3, weights=[0.3, 0.7])`
    """
    measures = list(measures)
    check_positive("epsilon", epsilon)
    _check_grids(measures)
    if strength is not None:
        check_positive("strength", strength)
        if debiased:
            raise ValueError(
                "`debiased` is True, and with a `strength` no way to take the blur off is known; "
                "leave one of them out."
            )
    else:
        for nu in measures[1:]:
            comparable(measures[0], nu, "Two of the `measures`")
    dtype = measures[0].rho.dtype
    shares = _shares(weights, len(measures), dtype)
    enough = float(jnp.finfo(dtype).eps) ** 0.5 if tol is None else tol
    epsilon = jnp.asarray(epsilon, dtype)
    rho, error = _iterate(measures, shares, epsilon, strength, debiased, iterations, enough)
    if concrete(error) and not float(error) <= enough:
        raise RuntimeError(
            f"After {iterations} `iterations` {float(error):.3g} of the plans' mass is at wrong "
            f"places; give more of them, a larger `epsilon`, or a larger `tol` than {enough:.3g}."
        )
    return replace(measures[0], rho=rho)


def _check_grids(measures: list) -> None:
    if not measures or not all(isinstance(m, GridDensity) for m in measures):
        raise ValueError(
            "`measures` are one or more of GridDensity; of particles and Gaussians take "
            "`barycenter`."
        )
    first = measures[0]
    for nu in measures[1:]:
        walls = (first.lower, nu.lower, first.upper, nu.upper)
        same = nu.rho.shape == first.rho.shape and nu.periodic == first.periodic
        if same and concrete(walls):
            same = np.array_equal(*walls[:2]) and np.array_equal(*walls[2:])
        if not same:
            raise ValueError(
                "`measures` live on different grids; give all the same cells, walls and periods."
            )


@jitted
def _iterate(measures, shares, epsilon, strength, debiased, iterations, tol):
    first, count = measures[0], len(measures)
    cells = first.rho.shape
    kernels = [-cost / epsilon for cost in lattices(first, first).costs]
    log_nu = jnp.stack([jnp.log(nu.rho * first.cell) for nu in measures])
    tau = 1 if strength is None else strength / (strength + epsilon)

    def center(spread):
        """Π_k p_k^{λ_k}, or the power mean (Σ_k λ_k p_k^{1−τ})^{1/(1−τ)}, by logarithms."""
        if strength is None:
            return jnp.tensordot(shares, spread, axes=1)
        each = jnp.log(shares).reshape(-1, *[1] * len(cells)) + (1 - tau) * spread
        return jax.nn.logsumexp(each, axis=0) / (1 - tau)

    def sweep(x):
        x = x.reshape(count + 1, *cells)
        log_b, log_d = x[:-1], x[-1]
        spread = log_product(kernels, tau * (log_nu - log_product(kernels, log_b)))
        log_mu = log_d + center(spread)
        more = (log_mu - log_d - log_product(kernels, log_d)) / 2 if debiased else 0 * log_d
        image = jnp.concatenate([tau * (log_mu - spread), (log_d + more)[None]])
        mu = jnp.exp(log_mu)
        wrong = jnp.sum(mu * jnp.abs(image - x), axis=range(1, x.ndim)) / jnp.sum(mu)
        return image.ravel(), mu, jnp.max(wrong)

    def step(carry):
        k, x, memory, _, _ = carry
        image, mu, error = sweep(x)
        memory, x = memory.mixed(x, image)
        return k + 1, x, memory, mu, error

    x = jnp.zeros((count + 1) * math.prod(cells), first.rho.dtype)
    going = lambda carry: (carry[0] < iterations) & ~(carry[4] <= tol)  # noqa: E731
    infinite = jnp.full((), jnp.inf, x.dtype)
    start = (0, x, Anderson.empty(x, 0 if debiased else _MEMORY), first.rho, infinite)
    _, _, _, mu, error = jax.lax.while_loop(going, step, start)
    return jnp.where(error <= tol, mu / first.cell, jnp.nan), error

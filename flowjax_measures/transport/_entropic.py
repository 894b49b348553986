r"""Entropic couplings, balanced and unbalanced, by ott's Sinkhorn.

    min_π ∫ ‖x − y‖² dπ + ε KL(π | μ⊗ν) + λ_a KL(π₁ | μ) + λ_b KL(π₂ | ν),   τ = λ / (λ + ε);

τ = 1 is a hard marginal constraint ([chizat2018scaling], [sejourne2019]). For plans to look at;
flows and losses take `SinkhornDivergence`, with the derivative of the converged potentials.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Scalar
from ..measures import AbstractMeasure
from ._masses import check_masses


def entropic_coupling(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    epsilon: Scalar,
    *,
    tau_mu: float = 1.0,
    tau_nu: float = 1.0,
) -> Float[Array, "n m"]:
    r"""The entropic optimal plan π between the atoms of two measures, with c = ‖x − y‖².

    **Arguments:** `mu`, `nu`: measures whose points are vectors; their masses may differ where a
    marginal is relaxed. `epsilon`: ε > 0. `tau_mu`, `tau_nu`: τ in (0, 1] of the marginals.

    **Returns:** masses π_ij, shape (n, m); not differentiated.

    **Raises:** `ValueError` for τ outside (0, 1].
    """
    # ott takes two seconds to import and is needed here only.
    from ott.geometry import geometry
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    for name, tau in (("tau_mu", tau_mu), ("tau_nu", tau_nu)):
        if not 0 < tau <= 1:
            raise ValueError(f"`{name}` is {tau}; it is in (0, 1], and 1 keeps the marginal.")
    if tau_mu == tau_nu == 1:
        check_masses(mu, nu)
    (x, log_a), (y, log_b) = (jax.lax.stop_gradient(m.atoms()) for m in (mu, nu))
    # By differences: expanding the square loses half of the digits.
    cost = jnp.sum((x[:, None] - y[None]) ** 2, axis=-1)
    # ott's entropy is relative to the counting measure; the weights move it to μ⊗ν.
    tiny = jnp.log(jnp.finfo(cost.dtype).tiny)
    weights = jnp.maximum(log_a, tiny)[:, None] + jnp.maximum(log_b, tiny)
    level: Any = jax.lax.stop_gradient(jnp.asarray(epsilon, cost.dtype))
    problem = linear_problem.LinearProblem(
        geometry.Geometry(cost_matrix=cost - level * weights, epsilon=level),
        a=jnp.exp(log_a),
        b=jnp.exp(log_b),
        tau_a=tau_mu,
        tau_b=tau_nu,
    )
    tolerance = 100 * float(jnp.finfo(cost.dtype).eps)
    with jax.numpy_dtype_promotion("standard"):  # ott mixes integers and floats
        return sinkhorn.Sinkhorn(threshold=tolerance, max_iterations=20_000)(problem).matrix

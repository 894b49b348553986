r"""Wasserstein on Wasserstein: random measures M = Σ_i a_i δ_{μ_i} ([pinzi2025]).

    𝒲_p(M, N)^p = min_Π ∫ W_p(μ, ν)^p dΠ(μ, ν)
                = min ∫_0^1 ∫∫ ‖b_t(x, μ)‖^p μ(dx) M_t(dμ) dt   with ∂_t M + div_P(b M) = 0

It sees which mass belongs together: 𝒲_p ≥ W_p of the averages Σ a_i μ_i. Between mixtures of
Gaussians, told by their components, it is the mixture distance of [delon2020].
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import checked, jitted, safe_power
from ..measures import AbstractMeasure, Gaussian
from ..measures._base import concrete
from ._exact import _dimension, wasserstein
from ._geodesics import mccann
from ._masses import comparable
from ._plans import optimal_plan, optimal_value

Measures = Sequence[AbstractMeasure]


@checked
def nested_wasserstein(
    mus: Measures,
    nus: Measures,
    mu_masses: Float[Array, " n"] | None = None,
    nu_masses: Float[Array, " m"] | None = None,
    p: float | int = 2,
) -> FloatScalar:
    """The distance 𝒲_p of two random measures of finitely many values.

    **Arguments:** `mus`, `nus`: the values, measures of mass one of any kind that `wasserstein`
    takes. `mu_masses`, `nu_masses`: their probabilities, equal by default. `p` ≥ 1.

    !!! example

        `fm.nested_wasserstein([mu, nu], [nu, mu])`
    """
    power = optimal_value(_costs(mus, nus, p), _shares(mus, mu_masses), _shares(nus, nu_masses))
    return safe_power(power, 1 / p)


@checked
def nested_mccann(
    mus: Measures,
    nus: Measures,
    t: FloatScalar,
    mu_masses: Float[Array, " n"] | None = None,
    nu_masses: Float[Array, " m"] | None = None,
) -> tuple[list[AbstractMeasure], Float[Array, " pairs"]]:
    """The 𝒲₂ geodesic: the values and their probabilities at time t in [0, 1].

    Each pair (μ_i, ν_j) of the optimal plan moves along its own geodesic; all pairs are returned,
    many of probability 0. The plan counts as fixed for derivatives.

    !!! example

        `fm.nested_mccann([mu, nu], [nu, mu], 0.5)`
    """
    problem = _costs(mus, nus, 2), _shares(mus, mu_masses), _shares(nus, nu_masses)
    costs, a, b = jax.lax.stop_gradient(problem)
    plan = optimal_plan(costs, a, b)[0]
    if _at_once(mus, nus, 2):
        pairs = _geodesics(_stacked(mus), _stacked(nus), t)
        places = [(i, j) for i in range(len(mus)) for j in range(len(nus))]
        return [jax.tree.map(lambda a, k=k: a[k], pairs) for k in places], plan.ravel()
    return [mccann(mu, nu, t) for mu in mus for nu in nus], plan.ravel()


def _costs(mus, nus, p):
    if _at_once(mus, nus, p):
        return _powers(_stacked(mus), _stacked(nus), p)
    return jnp.stack([jnp.stack([wasserstein(mu, nu, p) ** p for nu in nus]) for mu in mus])


@jitted
def _powers(mus, nus, p):
    return jax.vmap(lambda mu: jax.vmap(lambda nu: wasserstein(mu, nu, p) ** p)(nus))(mus)


@jitted
def _geodesics(mus, nus, t):
    return jax.vmap(lambda mu: jax.vmap(lambda nu: mccann(mu, nu, t))(nus))(mus)


def _at_once(mus, nus, p) -> bool:
    """Whether one program, batched over all pairs, is the best way to compare them.

    Measures of one shape are; but atoms in the plane and beyond that can be looked at are sooner
    compared by the network simplex, pair by pair.
    """
    groups = [list(mus), list(nus)]
    for group in groups:
        first, *rest = [_form(m) for m in group]
        if any(form != first for form in rest):
            return False
    for mu, nu in [(m, nus[0]) for m in mus] + [(mus[0], m) for m in nus]:
        comparable(mu, nu)
    both = [group[0] for group in groups]
    closed = p == 2 and all(isinstance(m, Gaussian) for m in both)
    return closed or _dimension(both[0]) == 1 or not concrete(groups)


def _form(measure):
    leaves, structure = jax.tree.flatten(measure)
    return structure, [(jnp.shape(a), jnp.result_type(a)) for a in leaves]


def _stacked(measures):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *measures)


def _shares(measures, masses):
    if masses is None:
        masses = jnp.ones(len(measures))
    if masses.shape != (len(measures),):
        raise ValueError(
            f"{len(measures)} measures were given masses of shape {masses.shape}; give one "
            "probability for each."
        )
    return masses / jnp.sum(masses)

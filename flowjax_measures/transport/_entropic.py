r"""Entropic transport: cost, potentials and plan, balanced and unbalanced.

    min_π ∫ c dπ + ε KL(π | μ⊗ν) + λ_a KL(π₁ | μ) + λ_b KL(π₂ | ν),   τ = λ / (λ + ε);

c is the squared distance of the measures' space, and τ = 1 a hard marginal constraint
([chizat2018scaling], [sejourne2019]). Potentials are found by annealed Newton steps; what has not
converged is NaN.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from .._numerics import checked, jitted
from .._numerics._checks import check_positive
from ..energies._entropic_cost import (
    entropic_value,
    pairs_of,
    schrodinger_potentials,
)
from ..energies._ground import located, shared_space, squares
from ..energies._pairs import Table
from ..energies._relaxed_schrodinger import relaxed_potentials, relaxed_value
from ..energies._schrodinger import balanced, centred, cost_potentials, optimal_entropic_cost
from ..energies._sinkhorn import _gaussian_cost
from ..measures import AbstractMeasure, Gaussian
from ..spaces._product import is_flat
from ._exact import Cost, cost_matrix
from ._masses import comparable


@checked
def entropic_cost(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    epsilon: Scalar,
    *,
    tau_mu: float = 1.0,
    tau_nu: float = 1.0,
    cost: Cost | None = None,
) -> FloatScalar:
    r"""OT_ε(μ, ν), the least value of the entropic problem: a square, for c = d(x, y)².

    Closed form between Gaussians. With hard marginals differentiable any number of times in
    points, weights and ε, else once. It doesn't vanish for ν = μ: `sinkhorn_divergence` does.

    **Arguments:** `mu`, `nu`: measures; their masses may differ where a marginal is relaxed.
    `epsilon`: ε > 0, in units of the cost. `tau_mu`, `tau_nu`: τ in (0, 1] of the marginals.
    `cost`: another c, a function of two points or a matrix (n, m).

    **Raises:** `ValueError` that names the argument.

    !!! example

        `jax.grad(lambda x: fm.entropic_cost(fm.Particles(x), nu, 0.1))(mu.x)`
    """
    relaxed = _checked(mu, nu, epsilon, tau_mu, tau_nu)
    if relaxed is not None:
        return _relaxed_value(_relaxed(mu, nu, epsilon, cost), relaxed)
    if cost is not None:
        return _value(_given(mu, nu, epsilon, cost))
    if all(isinstance(m, Gaussian) for m in (mu, nu)):
        return _gaussians(mu, nu, epsilon)
    return _whole(entropic_value, mu, nu, epsilon)


@checked
def entropic_potentials(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    epsilon: Scalar,
    *,
    tau_mu: float = 1.0,
    tau_nu: float = 1.0,
    cost: Cost | None = None,
) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
    r"""The Schrödinger potentials f, g at the atoms, with π = e^{(f + g − c)/ε} μ⊗ν.

    With hard marginals ∫ f dμ = ∫ g dν for measures of mass one, and their derivative is the true
    one; relaxed ones are not differentiated.

    **Arguments, raises:** as `entropic_cost`.

    !!! example

        `f, g = fm.entropic_potentials(mu, nu, 0.1)`
    """
    relaxed = _checked(mu, nu, epsilon, tau_mu, tau_nu)
    if relaxed is not None:
        return _relaxed_potentials(_relaxed(mu, nu, epsilon, cost), relaxed)
    if cost is not None:
        return _potentials(_given(mu, nu, epsilon, cost))
    return _whole(schrodinger_potentials, mu, nu, epsilon)


@checked
def entropic_coupling(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    epsilon: Scalar,
    *,
    tau_mu: float = 1.0,
    tau_nu: float = 1.0,
    cost: Cost | None = None,
) -> Float[Array, "n m"]:
    r"""The entropic optimal plan π between the atoms of two measures: masses π_ij.

    **Arguments, raises:** as `entropic_cost`.

    **Returns:** masses π_ij, shape (n, m), NaN where the potentials were not found. With hard
    marginals they have their true derivative; relaxed ones are not differentiated.

    !!! example

        `fm.entropic_coupling(mu, nu, 0.1).sum(0)` are the masses of `nu`.
    """
    relaxed = _checked(mu, nu, epsilon, tau_mu, tau_nu)
    if relaxed is not None:
        return _relaxed_plan(_relaxed(mu, nu, epsilon, cost), relaxed)
    problem = _centred(mu, nu, epsilon) if cost is None else _given(mu, nu, epsilon, cost)
    return _plan(problem) * jnp.sum(jnp.exp(mu.atoms()[1]))


def _checked(mu, nu, epsilon, tau_mu, tau_nu) -> Any:
    """The factors (1 − τ)/τ = ε/λ of relaxed marginals, or `None` for two hard ones."""
    check_positive("epsilon", epsilon)
    for name, tau in (("tau_mu", tau_mu), ("tau_nu", tau_nu)):
        if not 0 < tau <= 1:
            raise ValueError(f"`{name}` is {tau}; it is in (0, 1], and 1 keeps the marginal.")
    if tau_mu == tau_nu == 1:
        comparable(mu, nu)
        return None
    shared_space(mu, nu)
    return (1 - tau_mu) / tau_mu, (1 - tau_nu) / tau_nu


@jitted
def _whole(what, mu, nu, epsilon):
    """A value or potentials by the solver that suits the measures."""
    return what(mu, nu, jnp.asarray(epsilon, mu.atoms()[1].dtype))


def _given(mu, nu, epsilon, cost: Cost) -> Any:
    """The matrix of costs, normalised weights and ε."""
    (x, log_a), (y, log_b) = mu.atoms(), nu.atoms()
    matrix = cost_matrix(cost, x, y, (log_a.size, log_b.size))
    shares = jax.nn.log_softmax(log_a), jax.nn.log_softmax(log_b)
    return matrix, *shares, jnp.asarray(epsilon, matrix.dtype)


@jitted
def _centred(mu, nu, epsilon):
    """The same of squared distances, up to functions of one point, which no plan sees."""
    space = shared_space(mu, nu)
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    matrix = centred(x, log_a, y, log_b)[0] if is_flat(space) else squares(space, x, y)
    return matrix, log_a, log_b, jnp.asarray(epsilon, matrix.dtype)


@jitted
def _value(problem):
    return optimal_entropic_cost(*problem)


@jitted
def _potentials(problem):
    return balanced(*cost_potentials(*problem), *problem[1:3])


@jitted
def _plan(problem):
    matrix, log_a, log_b, epsilon = problem
    f, g = cost_potentials(*problem)
    return jnp.exp((f[:, None] - matrix + g) / epsilon + log_a[:, None] + log_b)


def _relaxed(mu, nu, epsilon, cost: Cost | None) -> Any:
    """The pairs, the weights as they are, and ε."""
    (x, log_a), (y, log_b) = mu.atoms(), nu.atoms()
    if cost is None:
        pairs = pairs_of(mu, nu)
    else:
        pairs = Table(cost_matrix(cost, x, y, (log_a.size, log_b.size)))
    return pairs, log_a, log_b, jnp.asarray(epsilon, log_a.dtype)


@jitted
def _relaxed_value(problem, relaxed):
    return relaxed_value(*problem, *(factor / problem[3] for factor in relaxed))


@jitted
def _relaxed_potentials(problem, relaxed):
    problem = jax.lax.stop_gradient(problem)
    return relaxed_potentials(*problem, *(factor / problem[3] for factor in relaxed))


@jitted
def _relaxed_plan(problem, relaxed):
    f, g = _relaxed_potentials(problem, relaxed)
    pairs, log_a, log_b, epsilon = jax.lax.stop_gradient(problem)
    return jnp.exp((f[:, None] - pairs.table() + g) / epsilon + log_a[:, None] + log_b)


@jitted
def _gaussians(mu, nu, epsilon):
    return _gaussian_cost(mu, nu, jnp.asarray(epsilon, mu.m.dtype))

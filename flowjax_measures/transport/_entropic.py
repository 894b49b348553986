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
from .._numerics import jitted
from .._numerics._checks import check_positive
from ..energies._ground import is_flat, located, shared_space, squares
from ..energies._relaxed_schrodinger import relaxed_plan, relaxed_potentials, relaxed_value
from ..energies._schrodinger import balanced, centred, cost_potentials, optimal_entropic_cost
from ..energies._sinkhorn import _gaussian_cost, entropic_value, many, space_potentials
from ..measures import AbstractMeasure, Gaussian
from ._exact import Cost, cost_matrix
from ._masses import comparable


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

        `jax.grad(lambda x: fm.entropic_cost(fm.Particles(x), nu, 0.1))(x)`
    """
    space, inverse = _checked(mu, nu, epsilon, tau_mu, tau_nu)
    if inverse is None and cost is None and all(isinstance(m, Gaussian) for m in (mu, nu)):
        return _gaussians(mu, nu, epsilon)
    if inverse is None and cost is None and many(space, *_points(mu, nu)):
        return _tiled(entropic_value, mu, nu, space, epsilon)
    return _value(_problem(mu, nu, space, epsilon, inverse, cost), inverse)


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
    space, inverse = _checked(mu, nu, epsilon, tau_mu, tau_nu)
    if inverse is None and cost is None and many(space, *_points(mu, nu)):
        return _tiled(space_potentials, mu, nu, space, epsilon)
    return _potentials(_problem(mu, nu, space, epsilon, inverse, cost), inverse)


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
    space, inverse = _checked(mu, nu, epsilon, tau_mu, tau_nu)
    problem = _problem(mu, nu, space, epsilon, inverse, cost)
    return _plan(problem if inverse is None else jax.lax.stop_gradient(problem), inverse)


def _points(mu: AbstractMeasure, nu: AbstractMeasure) -> list[Any]:
    return [m.atoms()[1] for m in (mu, nu)]


@jitted
def _tiled(what, mu, nu, space, epsilon):
    """A value or potentials of more pairs than are held at once."""
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    return what(space, x, log_a, y, log_b, jnp.asarray(epsilon, log_a.dtype))


def _checked(mu, nu, epsilon, tau_mu, tau_nu) -> tuple[Any, Any]:
    """The space, and the factors (1 − τ)/τ = ε/λ, or `None` for two hard marginals."""
    check_positive("epsilon", epsilon)
    for name, tau in (("tau_mu", tau_mu), ("tau_nu", tau_nu)):
        if not 0 < tau <= 1:
            raise ValueError(f"`{name}` is {tau}; it is in (0, 1], and 1 keeps the marginal.")
    if tau_mu == tau_nu == 1:
        return comparable(mu, nu), None
    return shared_space(mu, nu), ((1 - tau_mu) / tau_mu, (1 - tau_nu) / tau_nu)


def _problem(mu, nu, space, epsilon, inverse, cost: Cost | None) -> Any:
    """(cost, log_a, log_b, ε), what the cost leaves out, and the mass of the plan."""
    if cost is None:
        return _located(mu, nu, space, epsilon, inverse)
    (x, log_a), (y, log_b) = mu.atoms(), nu.atoms()
    matrix = cost_matrix(cost, x, y, (log_a.size, log_b.size))
    return _posed(matrix, log_a, log_b, epsilon, inverse)


@jitted
def _located(mu, nu, space, epsilon, inverse):
    (x, log_a), (y, log_b) = ((located(m, space)[0], m.atoms()[1]) for m in (mu, nu))
    if not is_flat(space):
        return _posed(squares(space, x, y), log_a, log_b, epsilon, inverse)
    matrix, rest = centred(x, jax.nn.log_softmax(log_a), y, jax.nn.log_softmax(log_b))
    if inverse is None:
        return _posed(matrix, log_a, log_b, epsilon, inverse, rest)
    # What moves with whole clouds counts where mass may be made instead.
    return _posed(matrix + rest[0][:, None] + rest[1], log_a, log_b, epsilon, inverse)


def _posed(matrix, log_a, log_b, epsilon, inverse, rest=None):
    epsilon = jnp.asarray(epsilon, matrix.dtype)
    log_mass = jax.nn.logsumexp(log_a)
    if inverse is None:
        log_a, log_b = (jax.nn.log_softmax(w) for w in (log_a, log_b))
    if rest is None:
        rest = (jnp.zeros_like(log_a), jnp.zeros_like(log_b))
    return (matrix, log_a, log_b, epsilon), rest, log_mass


@jitted
def _value(problem, inverse):
    (matrix, log_a, log_b, epsilon), (f, g), _ = problem
    if inverse is not None:
        return relaxed_value(matrix, log_a, log_b, epsilon, *_inverses(inverse, epsilon))
    moved = jnp.vdot(jnp.exp(log_a), f) + jnp.vdot(jnp.exp(log_b), g)
    return optimal_entropic_cost(matrix, log_a, log_b, epsilon) + moved


@jitted
def _potentials(problem, inverse):
    (matrix, log_a, log_b, epsilon), (f, g), _ = problem
    if inverse is not None:
        args = jax.lax.stop_gradient((matrix, log_a, log_b, epsilon))
        return relaxed_potentials(*args, *_inverses(inverse, args[3]))
    near_f, near_g = cost_potentials(matrix, log_a, log_b, epsilon)
    return balanced(near_f + f, near_g + g, log_a, log_b)


@jitted
def _plan(problem, inverse):
    (matrix, log_a, log_b, epsilon), _, log_mass = problem
    if inverse is not None:
        return relaxed_plan(matrix, log_a, log_b, epsilon, *_inverses(inverse, epsilon))
    f, g = cost_potentials(matrix, log_a, log_b, epsilon)
    tilt = (f[:, None] - matrix + g) / epsilon + log_a[:, None] + log_b
    return jnp.exp(tilt + log_mass)


def _inverses(inverse, epsilon):
    return [jnp.asarray(factor, epsilon.dtype) / epsilon for factor in inverse]


@jitted
def _gaussians(mu, nu, epsilon):
    return _gaussian_cost(mu, nu, jnp.asarray(epsilon, mu.m.dtype))

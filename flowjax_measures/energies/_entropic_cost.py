r"""Entropic transport between measures: which of its solvers takes them.

Two grids are solved axis by axis, clouds of many points in flat space in tiles, and all else by the
matrix of its costs.
"""

import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array

from .._custom_types import FloatScalar
from .._reduce import tilted_mean
from .._reduce._tilted import spread_mean
from ..measures import AbstractMeasure, GridDensity, Particles
from ._ground import is_flat, located, shared_space, space_of, squares
from ._pairs import AbstractPairs, Clouds, Table, lattices
from ._schrodinger import (
    balanced,
    centred,
    cost_potentials,
    optimal_entropic_cost,
    potentials,
    self_cost_potential,
    self_entropic_cost,
)
from ._schrodinger_streamed import (
    LARGEST,
    pairs_cost,
    pairs_potentials,
    streamed_cost,
    streamed_potentials,
)


def on_grids(mu: AbstractMeasure, nu: AbstractMeasure) -> bool:
    """Whether the costs of both are sums over axes."""
    return isinstance(mu, GridDensity) and isinstance(nu, GridDensity)


def without_matrix(mu: AbstractMeasure, nu: AbstractMeasure) -> bool:
    """Whether the matrix of costs is not formed."""
    return on_grids(mu, nu) or _many(space_of(mu), mu, nu)


def spread_alike(mu: AbstractMeasure, nu: AbstractMeasure) -> NamedSharding | None:
    """How the atoms of both are spread over devices, if they are spread in one way."""
    found = [m.sharding if isinstance(m, Particles) else None for m in (mu, nu)]
    return found[0] if found[0] == found[1] else None


def _many(space, mu: AbstractMeasure, nu: AbstractMeasure) -> bool:
    return is_flat(space) and len(mu.atoms()[1]) * len(nu.atoms()[1]) > LARGEST


def pairs_of(mu: AbstractMeasure, nu: AbstractMeasure) -> AbstractPairs:
    """The pairs of atoms with the cost d(x, y)²."""
    space = shared_space(mu, nu)
    if on_grids(mu, nu):
        return lattices(mu, nu)  # pyright: ignore
    (x, _), (y, _) = located(mu, space), located(nu, space)
    if _many(space, mu, nu):
        return Clouds(x, y, spread_alike(mu, nu))
    return Table(squares(space, x, y))


def entropic_value(mu: AbstractMeasure, nu: AbstractMeasure, epsilon) -> FloatScalar:
    """OT_ε of the cost d(x, y)², with derivatives of every order; masses are divided by."""
    space = shared_space(mu, nu)
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    if on_grids(mu, nu):
        return pairs_cost(pairs_of(mu, nu), log_a, log_b, epsilon)
    if _many(space, mu, nu):
        return streamed_cost(x, log_a, y, log_b, epsilon, spread_alike(mu, nu))
    if not is_flat(space):
        return optimal_entropic_cost(squares(space, x, y), log_a, log_b, epsilon)
    near, (f, g) = centred(x, log_a, y, log_b)
    moved = jnp.vdot(jnp.exp(log_a), f) + jnp.vdot(jnp.exp(log_b), g)
    return optimal_entropic_cost(near, log_a, log_b, epsilon) + moved


def schrodinger_potentials(
    mu: AbstractMeasure, nu: AbstractMeasure, epsilon, start=None
) -> tuple[Array, Array]:
    """f and g at the atoms, with ∫ f dμ = ∫ g dν; `start` is a guess of f, taken by matrices."""
    space = shared_space(mu, nu)
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    if on_grids(mu, nu):
        f, g = pairs_potentials(pairs_of(mu, nu), log_a, log_b, epsilon)
    elif _many(space, mu, nu):
        return streamed_potentials(x, log_a, y, log_b, epsilon, spread_alike(mu, nu))
    elif is_flat(space):
        return potentials(x, log_a, y, log_b, epsilon, start)
    else:
        f, g = cost_potentials(squares(space, x, y), log_a, log_b, epsilon, start)
    return balanced(f, g, log_a, log_b)


def self_value(mu: AbstractMeasure, epsilon) -> FloatScalar:
    """OT_ε(μ, μ)."""
    if without_matrix(mu, mu):
        return entropic_value(mu, mu, epsilon)
    space = space_of(mu)
    x, log_a = located(mu, space)
    return self_entropic_cost(squares(space, x, x), log_a, epsilon)


def self_potential(mu: AbstractMeasure, epsilon, start=None) -> Array:
    """The potential f = g of OT_ε(μ, μ)."""
    if without_matrix(mu, mu):
        return schrodinger_potentials(mu, mu, epsilon)[0]
    space = space_of(mu)
    x, log_a = located(mu, space)
    return self_cost_potential(squares(space, x, x), log_a, epsilon, start)


def extended(cost, x, points, log_weights, potential, epsilon, sharding=None):
    """The potential that belongs to `potential`, at any point x."""

    def logits(atom):
        y, g = atom
        return (g - cost(x, y)) / epsilon

    one = lambda atom: jnp.ones_like(atom[1])  # noqa: E731
    if sharding is None:
        return -epsilon * tilted_mean(one, logits, (points, potential), log_weights)[1]
    atoms = (points, potential)
    return -epsilon * spread_mean(one, logits, atoms, log_weights, sharding=sharding)[1]

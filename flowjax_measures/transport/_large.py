"""Exact transport between measures whose table of costs is not made, on the host."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._custom_types import FloatScalar
from .._numerics import jitted, safe_power
from ..energies._ground import located, square
from ..measures import AbstractMeasure, Particles
from ..measures._base import concrete
from ..spaces import AbstractSpace
from ._column_generation import sparse_exact
from ._host_pairs import Sparse

NO_INFINITE = "`cost` holds inf; give a pair that must not be taken a large number."
# Beyond this many pairs of atoms.
_LARGEST = 2**24


def large_plan(
    mu: AbstractMeasure, nu: AbstractMeasure, space: AbstractSpace, p: float, cost: Any
) -> Sparse | None:
    """The plan between shares of mass; none where a table is the way, or numbers are traced."""
    if not (cost is None or callable(cost)):
        return None
    if _atoms(mu) * _atoms(nu) <= _LARGEST:
        return None
    fixed = jax.lax.stop_gradient((mu, nu))
    if not concrete(fixed):
        return None
    (x, a), (y, b) = _posed(*fixed, space, cost)
    pick = lambda k: jax.tree.map(lambda leaf: leaf[k], x)  # noqa: E731

    def rows(k):
        table = np.asarray(_rows(space, p, cost, pick(k), y))
        if np.any(np.isinf(table)):
            raise ValueError(NO_INFINITE)
        return table

    return sparse_exact(rows, *(np.asarray(w, np.float64) for w in (a, b)))


def _atoms(mu: AbstractMeasure) -> int:
    return mu.size() if isinstance(mu, Particles) else len(mu.atoms()[1])


@jitted
def large_value(mu, nu, space: AbstractSpace, p: float, cost: Any, found: Sparse) -> FloatScalar:
    """⟨c, π⟩; costs have its derivative through the plan, and masses through the potentials."""
    (x, a), (y, b) = _posed(mu, nu, space, cost)
    here, there = (jax.tree.map(lambda z, k=k: z[k], u) for u, k in ((x, found.i), (y, found.j)))
    mass, f, g = (jnp.asarray(v, a.dtype) for v in found[2:])
    value = jnp.vdot(mass, jax.vmap(_of_a_pair(space, p, cost))(here, there))
    moved = [w - jax.lax.stop_gradient(w) for w in (a, b)]
    return value + jnp.vdot(f, moved[0]) + jnp.vdot(g, moved[1])


@jitted
def _rows(space: AbstractSpace, p: float, cost: Any, x, y):
    of = _of_a_pair(space, p, cost)
    return jax.vmap(lambda one: jax.vmap(lambda two: of(one, two))(y))(x)


def _posed(mu, nu, space: AbstractSpace, cost: Any):
    """Points and shares of mass; a cost of the caller's is asked at the points as they are."""
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    if cost is not None:
        x, y = mu.atoms()[0], nu.atoms()[0]
    return (x, jnp.exp(log_a)), (y, jnp.exp(log_b))


def _of_a_pair(space: AbstractSpace, p: float, cost: Any) -> Callable:
    if cost is not None:
        return lambda x, y: jnp.asarray(cost(x, y))
    of = square(space)
    return of if p == 2 else lambda x, y: safe_power(of(x, y), p / 2)

r"""Transport that leaves mass out, as a linear program with a dummy at each end ([caffarelli2010]).

    min_{π ≥ 0} ⟨c, π⟩ + λ₁ Σ (a − π₁) + λ₂ Σ (b − π₂),   π₁ ≤ a, π₂ ≤ b

What is left out goes to the dummy of the other side at the price λ, and from dummy to dummy go the
leftovers: a balanced problem, solved exactly as `coupling` is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from .._numerics import checked
from .._numerics._checks import check_positive
from ..energies._ground import shared_space
from ..measures import AbstractMeasure
from ..measures._base import concrete
from ._exact import Cost, costs_and_masses
from ._plans import optimal_plan, optimal_value


class Partial(NamedTuple):
    """The optimal value, plan (n, m) and potentials, (n,) and (m,).

    !!! example

        `fm.partial_transport(mu, nu, 0.5).value`
    """

    value: FloatScalar
    plan: Float[Array, "n m"]
    f: Float[Array, " n"]
    g: Float[Array, " m"]


@checked
def partial_transport(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    mass: Scalar,
    p: float | int = 2,
    *,
    cost: Cost | None = None,
) -> Partial:
    """The cheapest way to move a given mass of `mu` into `nu`; the rest of both stays out.

    The plan has marginals below the measures' masses. The value is differentiable once in points
    and masses.

    **Arguments:** `mu`, `nu`: measures with the masses that they have. `mass`: how much is moved,
    at most the smaller of their masses. `p`, `cost`: as in `unbalanced_transport`.

    **Raises:** `ValueError` for a `mass` that there isn't.

    !!! example

        `fm.partial_transport(mu, nu, 0.5).plan.sum()` is 0.5.
    """
    space = shared_space(mu, nu)
    check_positive("mass", mass)
    check_positive("p", p, 1)
    matrix, a, b = costs_and_masses(mu, nu, space, float(p), cost)
    most = jnp.minimum(jnp.sum(a), jnp.sum(b))
    if concrete(most, mass) and float(mass) > float(most) * (1 + 1e-6):
        raise ValueError(
            f"`mass` is {mass}, more than the {float(most):.6g} that both measures have."
        )
    mass = jnp.minimum(jnp.asarray(mass, a.dtype), most)
    # What is left out goes to a dummy for nothing; from dummy to dummy nothing may go.
    forbidden = 2 * jax.lax.stop_gradient(jnp.max(jnp.abs(matrix))) + 1
    zero = jnp.zeros((), matrix.dtype)
    wide = _framed(matrix, zero, zero, forbidden)
    return _extended(wide, a, b, jnp.sum(b) - mass, jnp.sum(a) - mass)


def with_dummies(
    cost: Float[Array, "n m"],
    a: Float[Array, " n"],
    b: Float[Array, " m"],
    one: Scalar | None,
    two: Scalar | None,
) -> Partial:
    """With the prices λ₁, λ₂ of what is left out; `None` where nothing may be."""
    total = jnp.sum(a), jnp.sum(b)
    for name, price, mass, other in (("one", one, *total), ("two", two, *total[::-1])):
        if price is None and concrete(mass, other) and float(mass) > float(other) * (1 + 1e-6):
            raise ValueError(
                f"`{name}` is None, and its measure has the mass {float(mass):.6g} where the other "
                f"has {float(other):.6g}: all of it can't be moved."
            )
    most = 2 * jax.lax.stop_gradient(jnp.max(jnp.abs(cost))) + 1
    prices = [most if p is None else jnp.asarray(p, cost.dtype) for p in (one, two)]
    wide = _framed(cost, prices[0], prices[1], jnp.zeros((), cost.dtype))
    return _extended(wide, a, b, total[1], total[0])


def _extended(wide, a, b, more_a, more_b) -> Partial:
    rows, columns = jnp.append(a, more_a), jnp.append(b, more_b)
    value = jnp.asarray(optimal_value(wide, rows, columns))
    plan, f, g = jax.lax.stop_gradient(optimal_plan(*jax.lax.stop_gradient((wide, rows, columns))))
    return Partial(value, plan[:-1, :-1], f[:-1] + g[-1], g[:-1] + f[-1])


def _framed(matrix, column, row, corner):
    """The costs with one more column, one more row, and what is in their corner."""
    n, m = matrix.shape
    top = jnp.concatenate([matrix, jnp.full((n, 1), column)], axis=1)
    return jnp.concatenate([top, jnp.append(jnp.full((1, m), row), corner)[None]])

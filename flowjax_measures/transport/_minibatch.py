r"""Plans of minibatches: optimal within batches that are drawn at random ([tong2024]).

Between the independent coupling (batches of one) and the optimal one (a single batch).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Count, PRNGKey
from .._numerics import checked, jitted
from ..energies._ground import located, squares
from ..measures import Particles
from ..measures._base import concrete
from ._assignment import assignment
from ._masses import comparable
from ._plans import optimal_plan


@checked
def minibatch_coupling(
    key: PRNGKey, mu: Particles, nu: Particles, size: Count
) -> Float[Array, "n n"]:
    """Masses of pairs of n and n particles of equal weight, optimal for W₂ in each batch.

    Distances are those of the particles' `space`. In `jit` the batches are solved one after the
    other.

    **Arguments:** `key`: for the drawing. `size`: particles of each measure in a batch, a divisor
    of n.

    !!! example

        `fm.minibatch_coupling(key, mu, nu, 4)`
    """
    space = comparable(mu, nu)
    x, y = (located(m, space)[0] for m in (mu, nu))
    n = mu.size()
    if mu.log_w is not None or nu.log_w is not None or nu.size() != n:
        raise ValueError(
            f"`mu` and `nu` have {n} and {nu.size()} particles; minibatches need equal numbers and "
            "no `log_w`. Draw them: Particles(mu.sample(key, n))."
        )
    if size < 1 or n % size:
        raise ValueError(f"`size` is {size} for {n} particles; give a divisor of their number.")
    rows, columns, cost = _batches(key, x, y, space, size)
    equal = jnp.full(size, 1 / size, cost.dtype)
    if concrete(cost):
        plans = jnp.stack([optimal_plan(c, equal, equal)[0] for c in cost])
    else:
        plans = jax.vmap(assignment)(cost)[0]
    return _whole(rows, columns, plans, n)


@jitted
def _batches(key, x, y, space, size: int):
    """Which particles each batch holds, and the costs between them."""
    one, two = jax.random.split(key)
    n = jax.tree.leaves(x)[0].shape[0]
    rows = jax.random.permutation(one, n).reshape(-1, size)
    columns = jax.random.permutation(two, n).reshape(-1, size)
    pick = lambda points, at: jax.tree.map(lambda a: a[at], points)  # noqa: E731
    cost = jax.vmap(lambda i, j: squares(space, pick(x, i), pick(y, j)))(rows, columns)
    return rows, columns, jax.lax.stop_gradient(cost)


@jitted
def _whole(rows, columns, plans, n: int):
    """The plan of all particles."""
    masses = plans * (rows.shape[1] / n)
    return jnp.zeros((n, n), plans.dtype).at[rows[:, :, None], columns[:, None, :]].set(masses)

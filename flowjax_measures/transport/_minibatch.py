r"""Plans of minibatches: optimal within batches that are drawn at random ([tong2024]).

Between the independent coupling (batches of one) and the optimal one (a single batch).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import PRNGKey
from ..energies._schrodinger import squared_distances
from ..energies._sinkhorn import _normalised
from ..measures import Particles
from ._exact import _plan


def minibatch_coupling(
    key: PRNGKey, mu: Particles, nu: Particles, size: int
) -> Float[Array, "n n"]:
    """Masses of pairs of n and n particles of equal weight, optimal for W₂ in each batch.

    **Arguments:** `key`: for the drawing. `size`: particles of each measure in a batch, a divisor
    of n.
    """
    (x, _), (y, _) = _normalised(mu), _normalised(nu)
    n = len(x)
    if mu.log_w is not None or nu.log_w is not None or len(y) != n:
        raise ValueError(
            f"`mu` and `nu` have {n} and {len(y)} particles; minibatches need equal numbers and "
            "no `log_w`. Draw them: Particles(mu.sample(key, n))."
        )
    if size < 1 or n % size:
        raise ValueError(f"`size` is {size} for {n} particles; give a divisor of their number.")
    one, two = jax.random.split(key)
    rows = jax.random.permutation(one, n).reshape(-1, size)
    columns = jax.random.permutation(two, n).reshape(-1, size)
    equal = jnp.full(size, 1 / size, x.dtype)
    within = jax.vmap(lambda i, j: _plan(squared_distances(x[i], y[j]), equal, equal)[0])
    plans = within(rows, columns) * (size / n)
    return jnp.zeros((n, n), x.dtype).at[rows[:, :, None], columns[:, None, :]].set(plans)

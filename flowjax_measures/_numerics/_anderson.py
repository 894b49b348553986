r"""Anderson mixing of a fixed-point iteration x ← T(x) ([walker2011]).

    x⁺ = Σ_i α_i T(x_i),   α the weights of sum 1 for which ‖Σ_i α_i (T(x_i) − x_i)‖ is least

over the last few x_i. Where the iteration converges linearly it converges in fewer steps.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Anderson(eqx.Module):
    """The last points that were tried, with where T sent them.

    !!! example

        `memory, x = memory.mixed(x, step(x))` from `memory = Anderson.empty(x, 5)`
    """

    images: Float[Array, "k n"]
    residuals: Float[Array, "k n"]
    held: Bool[Array, " k"]
    least: Float[Array, ""]

    @staticmethod
    def empty(x: Float[Array, " n"], size: int) -> "Anderson":
        """Room for `size` points like x."""
        none = jnp.zeros((size, x.size), x.dtype)
        return Anderson(none, none, jnp.zeros(size, bool), jnp.asarray(jnp.inf, x.dtype))

    def mixed(
        self, x: Float[Array, " n"], image: Float[Array, " n"]
    ) -> tuple["Anderson", Float[Array, " n"]]:
        """The memory with x and T(x) in place of the oldest, and the next point to try.

        Without room for any it is T(x). Where the last mixture led away from the fixed point, it
        starts anew.
        """
        r = image - x
        size = jnp.linalg.norm(r)
        held = jnp.where(size <= 2 * self.least, self.held, False)
        # Differences to the newest: those of empty rows are zero, and get no weight.
        apart = jnp.where(held[:, None], r - self.residuals, 0)
        gamma = mixing_weights(apart, r)
        x = image - gamma @ jnp.where(held[:, None], image - self.images, 0)
        least = jnp.minimum(size, self.least)
        newer = lambda new, old: jnp.concatenate([new[None], old])[: len(old)]  # noqa: E731
        held = newer(jnp.asarray(True), held)
        return Anderson(newer(image, self.images), newer(r, self.residuals), held, least), x


def mixing_weights(columns: Float[Array, "k n"], target: Float[Array, " n"]) -> Float[Array, " k"]:
    """θ of least |target − Σ_j θ_j columns_j|, with a ridge at round-off; 0 for columns of 0."""
    size = jnp.sqrt(jnp.sum(columns**2, axis=1))
    some = size > 0
    columns = columns / jnp.where(some, size, 1)[:, None]
    ridge = 1e2 * jnp.finfo(columns.dtype).eps
    gram = columns @ columns.T + jnp.diag(jnp.where(some, ridge, 1).astype(columns.dtype))
    return jnp.linalg.solve(gram, columns @ target) / jnp.where(some, size, 1)

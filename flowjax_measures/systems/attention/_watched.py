"""The matrix of attention, read off the layer itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ...measures import AbstractMeasure, Particles
from ...measures._base import replace
from ._layer import AbstractLayer
from ._matrices import at
from ._order import paired


class AbstractAttention(AbstractLayer):
    """A layer whose matrix of attention can be asked for."""

    def weights(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Float[Array, "..."]:
        r"""The matrix of attention A: head h moves token i by O_h V_h Σ_j A_hij x_j.

        **Arguments:** `mu`: tokens; their masses are in A. `t`: depth.

        **Returns:** shape (n, n), or (h, n, n) with heads; rows of softmax sum to 1.

        **Raises:** `ValueError` when `mu` has no particles.
        """
        if not isinstance(mu, Particles):
            raise ValueError(f"`mu` is a {type(mu).__name__}; a matrix of attention is among "
                             "particles.")  # fmt: skip
        labelled = paired(mu.x)
        pairs = mu.x if labelled else mu.numbered().x
        places = jnp.arange(mu.size())
        watched = replace(mu, x=(*pairs, places))
        hot = lambda y: (y[2] == places).astype(pairs[0].dtype)  # noqa: E731

        def row(token):
            return jnp.stack([reads for _, reads in self.heads(t, token, watched, hot)])

        rows = jax.vmap(row, out_axes=1)(pairs)
        return rows[0] if rows.shape[0] == 1 and not self._headed(t) else rows

    def _headed(self, t):
        matrices = [at(getattr(self, name), t) for name in ("query", "key", "value", "output")]
        arrays = [self.mask, self.bias, *matrices]
        ranks = [np.ndim(a) for a in arrays if a is not None and not callable(a)]
        return 3 in ranks or np.ndim(self.beta) == 1


def matrix_of(name: str, system: Any, mu: AbstractMeasure, t: FloatScalar) -> Array:
    """The matrix of attention of a part of a system.

    **Raises:** `ValueError` naming a part that has none.
    """
    if not hasattr(system, "weights"):
        raise ValueError(
            f"`{name}` is a {type(system).__name__}, which has no matrix of attention; give "
            "`SelfAttention` or a relative that has `weights`."
        )
    return system.weights(mu, t)

r"""What a network of fields is told beside a point: a time, and a label or a vector.

(φ(t), e_c),   φ(t) = (t, cos kπt, sin kπt)_k,   e_c learned for each label, or the vector c
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from ..._custom_types import FloatScalar, PRNGKey
from ...measures._base import concrete


class Conditioning(eqx.Module):
    """The numbers that tell a network of the time t and of the condition c.

    **Arguments:** `time`, `labels`, `condition`: as of `MLP`. `size`: of e_c.
    """

    names: Float[Array, "labels size"] | None
    time: int = eqx.field(static=True)
    condition: int = eqx.field(static=True)
    size: int = eqx.field(static=True)

    def __init__(
        self, time: int, labels: int, condition: int, size: int, key: PRNGKey,
        dtype: DTypeLike | None,
    ):  # fmt: skip
        if labels and condition:
            raise ValueError("`labels` and `condition` are both given; a condition is one of them.")
        size = size if labels else condition
        # A last row for points without a label.
        self.names = jax.random.normal(key, (labels + 1, size), dtype) if labels else None
        self.time, self.condition = time, condition
        self.size = (1 + 2 * time if time else 0) + size

    def __call__(self, t: FloatScalar, c: Any, dtype: DTypeLike) -> Float[Array, " size"]:
        parts = [jnp.zeros(0, dtype)]
        if self.time:
            t = jnp.asarray(t, dtype)
            angles = t * np.asarray(np.pi * np.arange(1, self.time + 1), dtype)
            parts += [t[None], jnp.cos(angles), jnp.sin(angles)]
        if self.names is not None:
            parts.append(self._named(-1 if c is None else c).astype(dtype))
        elif self.condition:
            shape = None if c is None else jnp.shape(c)
            if shape != (self.condition,):
                raise ValueError(f"`c` has the shape {shape} and not ({self.condition},).")
            parts.append(jnp.asarray(c, dtype))
        elif c is not None:
            raise ValueError("`c` is given; make the network with `labels` or `condition`.")
        return jnp.concatenate(parts)

    def _named(self, c: Any) -> Array:
        """The row of a label; NaN where compiled code is given one that is unknown."""
        names: Any = self.names
        labels = len(names) - 1
        if jnp.shape(c) != () or not jnp.issubdtype(jnp.result_type(c), jnp.integer):
            raise ValueError(f"`c` is no label; give an integer in [0, {labels}), or −1 for none.")
        if concrete(c) and not -1 <= int(c) < labels:
            raise ValueError(f"`c` is {int(c)}; labels are in [0, {labels}), and −1 is none.")
        known = (c >= -1) & (c < labels)
        return jnp.where(known, names[c], jnp.nan)

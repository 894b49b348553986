"""Functions of a number that are linear between nodes: a basis for what is to be learned."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import Checked, given


class PiecewiseLinear(Checked):
    """The function with given values at nodes, linear between them and constant beyond.

    **Arguments:** `nodes`: increasing, shape (k,). `values`: shape (k,); zeros by default.

    !!! example

        `fm.PiecewiseLinear(jnp.linspace(0, 3, 7))`
    """

    nodes: Float[Array, " k"]
    values: Float[Array, " k"]

    def __init__(self, nodes, values=None):
        self.nodes = given("nodes", nodes)
        self.values = jnp.zeros_like(self.nodes) if values is None else given("values", values)
        if self.nodes.shape != self.values.shape or self.nodes.ndim != 1:
            raise ValueError(
                f"`values` has shape {self.values.shape} and `nodes` {self.nodes.shape}; give one "
                "value for each node."
            )

    def __call__(self, r: FloatScalar) -> FloatScalar:
        return jnp.interp(r, self.nodes, self.values)

r"""Vlasov equations of tokens that have a label each (Ayi, Pouradier Duteil and Poyato).

    ∂_t μ^ξ + div(F[μ](·, ξ) μ^ξ) = 0,   F[μ](x, ξ) = ∫_0^1 w(ξ, ζ) ∫ φ(x, y) μ^ζ(dy) dζ

and, for interactions of several bodies, the sum over ℓ of the same with w_ℓ(ξ, ζ_1, …, ζ_ℓ) and
K_ℓ(x, y_1, …, y_ℓ): the limit of tokens on the vertices ξ_i of graphs that tend to a graphon w, or
of hypergraphs. Labels don't move.
"""

import jax.numpy as jnp

from ..._system import AbstractMeanField, motion
from ...measures import Rates


class GraphonVlasov(AbstractMeanField):
    r"""A system of labelled tokens (x, ξ) as one of points (ξ, x) in R^{1+d}.

    **Arguments:** `system`: without noise, of pairs (x, ξ) with real labels: `GraphAttention`,
    `HypergraphInteraction`, or any kind of attention whose `mask` or `bias` is a function of two
    labels.

    From a `GridDensity` on [0, 1] × R^d, whose first axis is ξ, it is the Vlasov equation, of
    second order in the cells; from `Particles` of points (ξ, x) the system itself.

    !!! example

        ```python
        averaging = fm.GraphAttention(lambda a, b: a * b, beta=0.0, normalization="mean")
        law = fm.GraphonVlasov(averaging)
        density = fm.GridDensity(jnp.ones((16, 32)), jnp.array([0.0, -2.0]), jnp.array([1.0, 2.0]))
        run = fm.simulate(law, density, [0.0, 1.0], dt=0.02)
        ```
    """

    system: AbstractMeanField

    def rates(self, t, x, mu):
        pair = lambda y: (y[1:], y[0])  # noqa: E731
        velocity, _ = motion(self.system, t, pair(x), mu.push(pair))
        return Rates(jnp.concatenate([jnp.zeros_like(x[:1]), velocity]))

r"""Interactions of several bodies on a hypergraph (Ayi, Pouradier Duteil and Poyato).

ẋ_i = Σ_ℓ (1/n^ℓ) Σ_{j_1 … j_ℓ} w_ℓ(i, j_1, …, j_ℓ) K_ℓ(x_i, x_{j_1}, …, x_{j_ℓ})
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from ..._system import AbstractMeanField
from ...measures import Rates
from ._order import beside, numbered, paired, told_apart


class HypergraphInteraction(AbstractMeanField):
    """Interactions of several bodies at once, along the edges of a hypergraph.

    **Arguments:**

    - `kernels`: the functions K_ℓ(x, y_1, …, y_ℓ) of points, one for each ℓ = 1, 2, ….
    - `weights`: for each ℓ an array of ℓ + 1 axes of length n, a function of labels
      (i, j_1, …, j_ℓ), or `None` for weight 1; `None` for all is the complete hypergraph.

    The work is n^ℓ for each point. Weights of particles count as masses do elsewhere. Labels are
    whole numbers or, for functions, real: points (x, ξ), of which ξ stays (see `GraphonVlasov`).

    !!! example

        `fm.HypergraphInteraction((lambda x, y: y - x, lambda x, y, z: y + z - 2 * x))`
    """

    kernels: tuple[Callable[..., Any], ...]
    weights: tuple[Any, ...] | None = None

    def __check_init__(self):
        if self.weights is not None and len(self.weights) != len(self.kernels):
            raise ValueError(
                f"There are {len(self.kernels)} kernels and {len(self.weights)} weights; give one "
                "weight, or None, for each kernel."
            )

    def rates(self, t, x, mu):
        weights = self.weights or (None,) * len(self.kernels)
        apart = paired(x) or any(w is not None for w in weights)
        if apart:
            (token, i), mu = told_apart(x, mu)
        else:
            token, i = x, None
        total = jnp.zeros_like(token)
        for bodies, (kernel, weight) in enumerate(zip(self.kernels, weights, strict=True), 1):

            def edge(others, kernel=kernel, weight=weight):
                force = kernel(token, *(y[0] for y in others) if apart else others)
                if weight is None:
                    return force
                labels = (i, *(y[1] for y in others))
                if not callable(weight):
                    numbered("weights", i)
                w = weight(*labels) if callable(weight) else jnp.asarray(weight)[labels]
                return jnp.asarray(w, force.dtype) * force

            total = total + _nested_mean(mu, edge, bodies, ())
        return Rates(beside(x, total))


def _nested_mean(mu, edge, bodies, others):
    """The mean over `bodies` more points of `edge`."""
    if bodies == 0:
        return edge(others)
    return mu.mean(lambda y: _nested_mean(mu, edge, bodies - 1, (*others, y)))

r"""Mean-field variational inference: Langevin's equation among product measures ([lacker2023]).

    dX_i = −E[∂_i V(Y_1, …, X_i, …, Y_d)] dt + √2 dW_i,   Y ~ μ

The Wasserstein flow of KL(· | e^{−V}/Z) on products μ_1 ⊗ … ⊗ μ_d. At rest each coordinate is
μ_i ∝ exp(−∫ V dμ_{−i}); of a Gaussian target with precision A, N(m, diag(1/A_ii)) with its mean m.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, Point
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Isotropic


class IndependentProjection(AbstractMeanField):
    """Points whose coordinates see the law of the others, and nothing else of them.

    Start from independent coordinates, which stay independent.

    **Arguments:** `potential`: V, of a vector; log-concave targets have one best product.

    !!! example

        `fm.IndependentProjection(f)`
    """

    potential: Callable[[Point], FloatScalar]

    def rates(self, t, x, mu):
        own = jnp.eye(x.size, dtype=bool)

        def pull(y):
            # Row i is y with x_i in the place of y_i.
            return jnp.diagonal(jax.vmap(jax.grad(self.potential))(jnp.where(own, x, y)))

        return Rates(-mu.mean(pull), Isotropic(jnp.sqrt(jnp.asarray(2.0, x.dtype))))

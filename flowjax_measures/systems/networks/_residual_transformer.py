r"""Deep transformers trained by gradient descent ([chaintron2026]).

    x_0 = z Aᵀ,   x_{l+1} = x_l + (1/L) push(x_l; heads and neurons of layer l),   f(z) = Cᵀ x_{L,n}

for sequences z of n tokens, where a layer adds the mean of M heads with k rows, and M neurons:

    push(x)_i = (1/M) Σ_m O_m Σ_j softmax_j(⟨Q_m x_i, K_m x_j⟩/√k) V_m x_j/√k + v_m σ(⟨u_m, x_i⟩).

All weights are N(0, 1) at first, but for A and C of entries N(0, 1/D), which stay; time is
(learning rate) / (LM), as for `ResidualNetwork`: the scaling of maximal local updates, with queries
and keys of bounded dimension. As L M → ∞ the heads and neurons of each layer become a law μ_s,
s = l/L, whatever M, and training its gradient flow:

    dx_i/ds = ∫ O Σ_j softmax_j(⟨Q x_i, K x_j⟩/√k) V x_j/√k + v σ(⟨u, x_i⟩) dμ_s.

What is orthogonal to the columns of A and C stays normal and is not seen, so the limit lives in
their span: `limit` is that system. The distance to it is O(1/L + √(D/(LM)) + 1/√D).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Positive, PRNGKey
from ._deep_training import AbstractDeepTraining
from ._transformer_weights import TransformerWeights, push


class ResidualTransformer(AbstractDeepTraining):
    r"""The training of a deep transformer; its state is `TransformerWeights`.

    Gradient descent is `simulate(network, weights, ts, dt=eta, solver=diffrax.Euler())`.

    **Arguments:**

    - `L`: depth. `M`: heads, and neurons, of a layer. `D`: embedding dimension. `k`: of queries.
    - `data`: pair (inputs, targets) of N sequences (N, n, d) and their answers (N, d′), which are
      read off the last token.
    - `activation`: σ. `loss`: ℓ(prediction, target), the squared error by default.
    - `clip`: bound on the speed of each row of each matrix; or None.
    - `causal`: whether a token sees only those before it. `order`: 2 takes blocks by the midpoint
      rule, the limit of depth to O(1/L²).

    !!! example

        `fm.ResidualTransformer(4, 4, 3, 2, (jnp.ones((5, 3, 2)), jnp.ones((5, 1))))`
    """

    L: int = eqx.field(static=True)
    M: int = eqx.field(static=True)
    D: int = eqx.field(static=True)
    k: int = eqx.field(static=True)
    data: tuple[Float[Array, "N n d"], Float[Array, "N d2"]]
    activation: Callable[[Float[Array, ""]], Float[Array, ""]] = jnp.tanh
    loss: Callable[[Any, Any], FloatScalar] | None = None
    clip: Positive | None = None
    causal: bool = eqx.field(static=True, default=False)
    order: Literal[1, 2] = eqx.field(static=True, default=1)

    def weights(self, key: PRNGKey) -> TransformerWeights:
        """Standard random weights."""
        inputs, targets = self.data
        d, ends = inputs.shape[-1], targets.shape[-1]
        shapes = [(self.D, d), *[(self.L, self.M, self.k, self.D)] * 4]
        shapes += [*[(self.L, self.M, self.D)] * 2, (self.D, ends)]
        keys = jax.random.split(key, 8)
        drawn = [jax.random.normal(a, s, inputs.dtype) for a, s in zip(keys, shapes, strict=True)]
        drawn[0], drawn[-1] = drawn[0] / self.D**0.5, drawn[-1] / self.D**0.5
        return TransformerWeights(*drawn)

    def limit(
        self, weights: TransformerWeights, key: PRNGKey, L: int, M: int
    ) -> tuple["ResidualTransformer", TransformerWeights]:
        r"""The limit of L M → ∞ with this A and C, as a system and its state, in their span.

        It has L layers by the midpoint rule and M heads and neurons in each: its own error is
        O(1/L² + 1/√(LM)). Its predictions, risk and times are those of the limit itself.
        """
        D = weights.embedding.shape[1] + weights.readout.shape[1]
        return dataclasses.replace(self, L=L, M=M, D=D, order=2), weights.in_span(key, L, M)

    def states(self, weights: TransformerWeights) -> Float[Array, "layers N n D"]:
        """x_0, …, x_L of all sequences."""

        def over(x, layer):
            return jax.vmap(lambda y: push(y, layer, self.activation, self.causal))(x)

        return self.through(over, self.data[0] @ weights.embedding.T, weights.layers)

    def predictions(self, weights):
        return self.states(weights)[-1, :, -1] @ weights.readout

r"""Deep residual networks trained by gradient descent ([chizat2025]).

    x_0 = A z,   x_{l+1} = x_l + (1/LM) Σ_j v_lj σ(⟨u_lj, x_l⟩),   f(z) = Cᵀ x_L,

with neurons u, v ~ N(0, I_D) and A, C of entries N(0, 1/D), fixed; time is (learning rate) / (LM):

    (u̇, v̇) = −L M ∇ (1/N) Σ_k ℓ(f(z_k), y_k).

This is the scaling of maximal local updates. In coordinates √D x of entries of size one the
residual scale is √D/(LM). As L M → ∞ each layer's neurons become a law μ_s, s = l/L,

    dx/ds = ∫ v σ(⟨u, x⟩) μ_s(du, dv),

and training its gradient flow in conditional optimal transport, whatever the width M
([barboni2024]); as D → ∞ that flow depends on A and C through their span alone, where they are
orthonormal. The distance to the limit is O(1/L + √(D/(LM)) + 1/√D).
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Positive, PRNGKey
from ...measures import Particles
from ._deep_training import AbstractDeepTraining


class ResidualWeights(eqx.Module):
    """The state of a `ResidualNetwork`: u and v flow, A = `embedding` and C = `readout` stay.

    !!! example

        ```python
        fm.ResidualWeights(
            jnp.ones((3, 2)), jnp.ones((8, 4, 3)), jnp.ones((8, 4, 3)), jnp.ones((3, 1))
        )
        ```
    """

    embedding: Float[Array, "D d"]
    u: Float[Array, "L M D"]
    v: Float[Array, "L M D"]
    readout: Float[Array, "D d2"]

    def laws(self) -> Particles:
        """The laws of the layers' neurons, vectors (u, v), stacked over layers."""
        return jax.vmap(Particles)(jnp.concatenate([self.u, self.v], axis=-1))


class ResidualNetwork(AbstractDeepTraining):
    r"""The training of a deep residual network; its state is `ResidualWeights`.

    Gradient descent is `simulate(network, weights, ts, dt=eta, solver=diffrax.Euler())`.

    **Arguments:**

    - `L`: depth. `M`: width of a layer. `D`: embedding dimension.
    - `data`: pair (inputs, targets) of shapes (N, d) and (N, d′).
    - `activation`: σ. `loss`: ℓ(prediction, target), the squared error by default.
    - `clip`: bound on the speed of each u and each v, for clipped gradient descent; or None.
    - `order`: 2 takes each residual block by the midpoint rule: the limit of depth to O(1/L²).

    !!! example

        `fm.ResidualNetwork(8, 4, 3, (jnp.ones((5, 2)), jnp.ones((5, 1))))`
    """

    L: int = eqx.field(static=True)
    M: int = eqx.field(static=True)
    D: int = eqx.field(static=True)
    data: tuple[Float[Array, "N d"], Float[Array, "N d2"]]
    activation: Callable[[Float[Array, ""]], Float[Array, ""]] = jnp.tanh
    loss: Callable[[Any, Any], FloatScalar] | None = None
    clip: Positive | None = None
    order: Literal[1, 2] = eqx.field(static=True, default=1)

    def weights(self, key: PRNGKey) -> ResidualWeights:
        """Standard random weights."""
        keys = jax.random.split(key, 4)
        inputs, targets = self.data
        draw = lambda key, *shape: jax.random.normal(key, shape, inputs.dtype)  # noqa: E731
        embedding = draw(keys[0], self.D, inputs.shape[1]) / self.D**0.5
        readout = draw(keys[3], self.D, targets.shape[1]) / self.D**0.5
        u, v = (draw(key, self.L, self.M, self.D) for key in keys[1:3])
        return ResidualWeights(embedding, u, v, readout)

    def states(self, weights: ResidualWeights) -> Float[Array, "layers N D"]:
        """x_0, …, x_L of all examples."""
        act = jax.vmap(jax.vmap(self.activation))
        push = lambda x, layer: act(x @ layer[0].T) @ layer[1] / layer[0].shape[0]  # noqa: E731
        return self.through(push, self.data[0] @ weights.embedding.T, (weights.u, weights.v))

    def predictions(self, weights):
        return self.states(weights)[-1] @ weights.readout

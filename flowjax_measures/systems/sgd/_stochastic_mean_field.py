r"""The stochastic mean-field equation: SGD on a wide shallow network ([gess2025]).

    dX = V(X, μ) dt + √(η s_b / N) Σ_k (G_k(X, μ) − Ḡ(X, μ)) dB_k,   μ = law of the neurons given B,

with G_k the gradient of example k's loss at a neuron, Ḡ its mean, V = −Ḡ − ∇P and one Brownian
motion for each example, shared by all neurons; s_b is the variance of a minibatch mean over that of
one example. A step of SGD is t ↦ t + η, neurons moving by η times the velocity. For the measure,

    dμ = −∇·(V μ) dt + ½ D²:(A μ) dt − √(η s_b / N) Σ_k ∇·((G_k − Ḡ) μ) dB_k.

Fluctuations around the deterministic flow are of size √η, whatever the number of neurons. At order
2 the drift is V − (η/2) DV·V, the derivative taken along the motion of X and of μ. Itô.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import NonNegative, Positive
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Cylindrical
from ._examples import thinning
from ._shallow_network import ShallowNetwork


class StochasticMeanField(AbstractMeanField):
    r"""A shallow network trained by minibatches, in the limit of many neurons.

    From `Particles` a finite network, from a `Gaussian` with a key the law of a linear network's
    neurons given the minibatches, from a `GridDensity` with a key the equation of dμ itself, where
    a neuron is a point (u, v) of the plane. Under one key all see the same minibatches, and n
    neurons are the limit up to O(n^{−1/2}).

    **Arguments:**

    - `network`: a `ShallowNetwork`.
    - `eta`: step size η of SGD, in the network's time.
    - `batch`: size b of a minibatch.
    - `order`: 1, or 2 for the drift that matches SGD to O(η²).
    - `replacement`: whether examples are drawn with replacement.

    !!! example

        ```python
        fm.StochasticMeanField(
            fm.ShallowNetwork(lambda p, z: p[0] * jnp.tanh(p[1] * z[0]), data), 0.1
        )
        ```
    """

    network: ShallowNetwork
    eta: NonNegative
    batch: Positive = 1
    order: Literal[1, 2] = eqx.field(static=True, default=1)
    replacement: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if self.order not in (1, 2):
            raise ValueError(f"`order` is {self.order}; the modified drift has order 1 or 2.")

    def rates(self, t, x, mu):
        network = self.network
        predictions = network.predictions(mu)
        n = predictions.shape[0]
        velocity = lambda y: network.velocity(y, predictions)  # noqa: E731
        drift = velocity(x)
        if self.order == 2:
            moved = mu.mean(lambda y: jax.jvp(network.features, (y,), (velocity(y),))[1])
            turn = jax.jvp(network.velocity, (x, predictions), (drift, moved))[1]
            drift = jax.tree.map(lambda v, a: v - self.eta / 2 * a, drift, turn)
        scale = jnp.sqrt(self.eta * thinning(n, self.batch, self.replacement) / n)

        def field(increment):
            # Σ_k (G_k − Ḡ) dB_k = Σ_k G_k (dB_k − mean dB): one weighted gradient.
            weights = jnp.asarray(scale, increment.dtype) * (jnp.mean(increment) - increment)
            return network.pull(x, predictions, weights)

        return Rates(drift, Cylindrical(field, (n,)))

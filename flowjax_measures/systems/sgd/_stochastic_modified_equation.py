r"""Stochastic modified equations: the diffusion that minibatch SGD follows ([li2017]).

    dX = −u∇R dt + u √(η C_b(X)) dW                                         (order 1)
    dX = −(u∇R + (η/4) u² ∇‖∇R‖² − (η/2) u̇ ∇R) dt + u √(η C_b(X)) dW        (order 2)

with R the mean loss, C_b the covariance of a minibatch gradient, u = 1 unless there is a schedule,
and t = kη after k steps. Moments of one point agree with those of SGD to O(η) and O(η²) on bounded
times. Itô.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._custom_types import FloatScalar, NonNegative, Point, Positive
from ..._system import AbstractMeanField
from ...measures import Rates
from ...noise._noise import Common, Covariance
from ._examples import (
    Schedule,
    check_data,
    gradient_covariance,
    modified_drift,
    number_of_examples,
    pace,
    thinning,
)
from ._gradient_noise import gradient_noise

# A (d, d) matrix above this is refused.
_DENSE = 1000


class StochasticModifiedEquation(AbstractMeanField):
    r"""The modified equation of SGD on `loss` with step size η.

    From a `Gaussian` (a Dirac has zero covariance) it gives the moments of linear regression
    exactly. Points of a cloud are independent runs: each has its own noise, taken through the
    examples, one weighted gradient a step and no matrix. With `shared` it is C_b^{1/2} dW with the
    symmetric root and the same W, which gets joint laws under the same minibatches wrong: these
    need `StochasticModifiedFlow`.

    **Arguments:**

    - `loss`: function ℓ(params, example) of one example.
    - `data`: pytree with leading axis = examples.
    - `eta`: step size η of SGD.
    - `batch`: size b of a minibatch.
    - `order`: 1 or 2.
    - `replacement`: whether examples are drawn with replacement.
    - `shared`: whether all points feel the same W.
    - `schedule`: function u of time; step k has the size η u(kη).

    !!! example

        ```python
        fm.simulate(
            fm.StochasticModifiedEquation(loss, data, 0.1), mu, [0.0, 0.2], dt=0.1, key=key
        )
        ```
    """

    loss: Callable[[Point, Any], FloatScalar]
    data: PyTree
    eta: NonNegative
    batch: Positive = 1
    order: Literal[1, 2] = eqx.field(static=True, default=1)
    replacement: bool = eqx.field(static=True, default=True)
    shared: bool = eqx.field(static=True, default=False)
    schedule: Schedule | None = None

    def __check_init__(self):
        check_data(self.data)
        if self.order not in (1, 2):
            raise ValueError(f"`order` is {self.order}; the modified equation has order 1 or 2.")

    def rates(self, t, x, mu):
        n = number_of_examples(self.data)
        speed = pace(self.schedule, t)
        rate = self.eta * thinning(n, self.batch, self.replacement) * speed[0] ** 2
        eta = self.eta if self.order == 2 else None
        drift = modified_drift(self.loss, self.data, x, eta, speed)
        if not self.shared:
            return Rates(drift, gradient_noise(self.loss, self.data, jnp.sqrt(rate / n)))
        size = sum(leaf.size for leaf in jax.tree.leaves(x))
        if size > _DENSE:
            raise ValueError(
                f"`shared` takes the root of a covariance of {size} parameters, a dense matrix; "
                f"above {_DENSE} use StochasticModifiedFlow."
            )
        covariance = gradient_covariance(self.loss, self.data, x)
        return Rates(drift, Common(Covariance(jnp.asarray(rate, covariance.dtype) * covariance)))

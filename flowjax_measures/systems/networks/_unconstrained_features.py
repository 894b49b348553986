r"""Neural collapse: a last layer on features that are free to move ([papyan2020], [zhou2022]).

    (Ẇ, Ḣ, ḃ) = −∇ [(1/N) Σ_i ℓ(W h_i + b, y_i) + ½ λ_W ‖W‖² + ½ λ_H ‖H‖²],   N = K n

for K classes of n examples each. Every run from a generic start ends where features of one class
are one point and the outputs are c(I − 11ᵀ/K), a simplex, with W ∝ their means; for squared errors
ℓ = ½‖z − y‖² without b they are c I. For these c = (1 − K √(n λ_W λ_H))₊, and for the cross entropy
c = log(1/√(n λ_W λ_H) − K + 1)₊. The singular values of WH are c√n, those of W and H √(c√n) times
(λ_H/λ_W)^{±¼}.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ..._custom_types import FloatScalar, NonNegative, PRNGKey
from ..._system import AbstractSystem
from ...measures import Increment


class UnconstrainedFeatures(AbstractSystem):
    r"""A gradient flow of (W, H) or (W, H, b), of shapes (K, d), (d, K n), (K,), a tuple.

    Columns of H are class after class: `labels`.

    **Arguments:**

    - `classes`: K. `per_class`: n.
    - `weight_decay`: λ_W. `feature_decay`: λ_H, as λ_W by default.
    - `loss`: "squared" or "cross_entropy".

    !!! example

        ```python
        law = fm.UnconstrainedFeatures(4, 10, weight_decay=0.01)
        run = fm.simulate(law, law.start(jr.key(0), width=8), [0.0, 500.0])
        W, H, b = run.final
        fm.neural_collapse(H.T, law.labels, W)  # all three near 0
        ```
    """

    classes: int = eqx.field(static=True)
    per_class: int = eqx.field(static=True)
    weight_decay: NonNegative = 5e-3
    feature_decay: NonNegative | None = None
    loss: Literal["squared", "cross_entropy"] = eqx.field(static=True, default="squared")

    def __check_init__(self):
        super().__check_init__()
        if self.loss not in ("squared", "cross_entropy"):
            raise ValueError(f'`loss` is {self.loss!r}; give "squared" or "cross_entropy".')
        if self.classes < 2 or self.per_class < 1:
            raise ValueError("`classes` must be 2 or more and `per_class` 1 or more.")

    @property
    def labels(self) -> Int[Array, " n"]:
        """The class of each column of H."""
        return jnp.repeat(jnp.arange(self.classes), self.per_class)

    def start(self, key: PRNGKey, width: int, scale: FloatScalar = 0.1, bias: bool = True) -> tuple:
        """A random (W, H, b), or (W, H), with features in R^width."""
        w, h = jax.random.split(key)
        count = self.classes * self.per_class
        state = (
            scale * jax.random.normal(w, (self.classes, width)),
            scale * jax.random.normal(h, (width, count)),
        )
        return (*state, jnp.zeros(self.classes)) if bias else state

    def energy(self, state: tuple) -> FloatScalar:
        """The objective."""
        weights, features, *bias = state
        outputs = (weights @ features).T + (bias[0] if bias else 0)
        if self.loss == "squared":
            one = jax.nn.one_hot(self.labels, self.classes, dtype=outputs.dtype)
            errors = jnp.sum((outputs - one) ** 2, 1) / 2
        else:
            right = jnp.take_along_axis(outputs, self.labels[:, None], 1)[:, 0]
            errors = jax.nn.logsumexp(outputs, 1) - right
        decay = self.weight_decay * jnp.sum(weights**2)
        return jnp.mean(errors) + (decay + self._feature_decay() * jnp.sum(features**2)) / 2

    def _feature_decay(self):
        return self.weight_decay if self.feature_decay is None else self.feature_decay

    def collapsed_scale(self) -> FloatScalar:
        """c of the outputs at the minimum, 0 where the decay is so large that all is forgotten."""
        root = jnp.sqrt(self.per_class * self.weight_decay * self._feature_decay())
        if self.loss == "squared":
            return jnp.maximum(1 - self.classes * root, 0)
        return jnp.log(jnp.maximum(1 / root - self.classes + 1, 1))

    def __call__(self, t, state):
        if not isinstance(state, tuple) or len(state) not in (2, 3):
            raise ValueError(
                f"UnconstrainedFeatures was given {type(state).__name__}; its state is a tuple "
                "(W, H) or (W, H, b), see `start`."
            )
        return Increment(jax.tree.map(jnp.negative, jax.grad(self.energy)(state)))

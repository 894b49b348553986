r"""Minibatch training itself: the discrete process, under `simulate`.

    g_k = (1/b) Σ_{i ∈ B_k} ∇ℓ(θ_k, z_i),   θ_{k+1} = θ_k + U(g_k; θ_k, memory_k),

with U the update of an optax optimizer.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from ..._custom_types import Count, FloatScalar, Point, PRNGKey, Velocity
from ..._numerics import checked
from ..._system import AbstractMeanField
from ...measures import Gaussian, GridDensity, Particles, Rates
from ...measures._base import replace
from ...noise._noise import Cylindrical, floating
from ._examples import check_data, number_of_examples, weighted_gradient
from ._training import Training, key_of, recall, remember


@checked
def minibatch(
    loss: Callable[[Point, Any], Any],
    data: PyTree,
    batch: Count,
    optimizer: optax.GradientTransformation,
    replacement: bool = True,
    amplification: FloatScalar | None = None,
) -> "_Minibatch":
    r"""Training by an optax optimizer: one update for each step `dt` of a run, whatever `dt` is.

    Run it from `Particles` of initial parameters: all points see the same minibatches, which come
    from the run's key alone. An optimizer with a memory (momentum, a schedule, Adam) starts from
    `.start(mu)`, whose points are `Training(params, memory)`.

    **Arguments:**

    - `loss`: function ℓ(params, example) of one example.
    - `data`: pytree with leading axis = examples.
    - `batch`: size b of a minibatch.
    - `optimizer`: an optax transformation.
    - `replacement`: whether examples are drawn with replacement; minibatches are independent.
    - `amplification`: l ≥ 1 mixes two minibatches, g = ½(1 + √(2l−1)) g¹ + ½(1 − √(2l−1)) g², of l
      times the covariance. With `optax.sgd(eta / l)` and `dt=eta / l` this is SVAG ([li2021]),
      which goes to the modified equation of step η and order 1 at the rate 1/l.

    !!! example

        ```python
        sgd = fm.minibatch(loss, data, 32, optax.adam(1e-3))
        run = fm.simulate(sgd, sgd.start(fm.Particles(params)), [0, 1000], dt=1, key=jr.key(0))
        ```
    """
    check_data(data)
    if not replacement and batch > (n := number_of_examples(data)):
        raise ValueError(f"`batch` is {batch} for {n} examples; give at most all.")
    return _Minibatch(loss, data, batch, optimizer, replacement, amplification)


class _Minibatch(AbstractMeanField):
    loss: Callable[[Point, Any], Any]
    data: PyTree
    batch: int = eqx.field(static=True)
    optimizer: optax.GradientTransformation
    replacement: bool = eqx.field(static=True)
    amplification: FloatScalar | None

    def start(self, mu: Particles) -> Particles:
        """The points, with the memory of an optimizer that begins."""
        memory = jax.vmap(lambda params: remember(self.optimizer.init(params), params))(mu.x)
        return replace(mu, x=Training(mu.x, memory))

    def rates(self, t, x, mu):
        if isinstance(mu, Gaussian | GridDensity):
            raise ValueError(
                f"`minibatch` was given {type(mu).__name__}; run a limit, or ask `sgd_moments`."
            )
        still = jax.tree.map(jnp.zeros_like, floating(x))
        # Training jumps, once a step. The Brownian increment of the step serves as its key.
        return Rates(still, Cylindrical(lambda w: self._jump(x, key_of(w)), (2,)))

    def gradient(self, params: Point, key: PRNGKey) -> Velocity:
        """The gradient of one minibatch, or of two that amplify its noise."""
        if self.amplification is None:
            index, weights = self._draw(key), jnp.full(self.batch, 1 / self.batch)
        else:
            index = jnp.concatenate([self._draw(k) for k in jax.random.split(key)])
            half = jnp.sqrt(2 * jnp.asarray(self.amplification, float) - 1) / 2
            weights = jnp.repeat(jnp.stack([0.5 + half, 0.5 - half]), self.batch) / self.batch
        examples = jax.tree.map(lambda a: a[index], self.data)
        return weighted_gradient(self.loss, examples, params, weights)

    def _draw(self, key):
        n = number_of_examples(self.data)
        if self.replacement:
            return jax.random.randint(key, (self.batch,), 0, n)
        return jax.random.choice(key, n, (self.batch,), replace=False)

    def _jump(self, x, key):
        params, memory = x if isinstance(x, Training) else Training(x, ())
        shapes = jax.eval_shape(self.optimizer.init, params)
        if len(jax.tree.leaves(memory)) != len(jax.tree.leaves(shapes)):
            raise ValueError(
                "`optimizer` has a memory that the state lacks; start from "
                "`minibatch(...).start(Particles(params))`."
            )
        state = jax.tree.unflatten(jax.tree.structure(shapes), jax.tree.leaves(memory))
        gradient = self.gradient(params, key)
        # optax mixes dtypes of its own.
        with jax.numpy_dtype_promotion("standard"):
            update, new = self.optimizer.update(gradient, recall(state, shapes), params)
        if not isinstance(x, Training):
            return update
        return Training(update, jax.tree.map(jnp.subtract, remember(new, params), memory))

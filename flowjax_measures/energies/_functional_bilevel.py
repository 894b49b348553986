r"""Functional bilevel problems, networks for the predictor and its adjoint ([petrulionyte2024]).

    J(θ) = E L(θ, h_θ(x), x),   h_θ = argmin_h E ℓ(θ, h(x), x)
    ∇J = E [∂_θ L + ∂_θ∂_v ℓ(θ, h(x), x) a(x)],   a = argmin_a E [½ ⟨a, ∂_v² ℓ a⟩ + ⟨a, ∂_v L⟩]

ℓ is convex in the value v = h(x), so that both problems are regressions in a space of functions, to
which h and a are fitted by any means: networks by `learn`, features by least squares. Nothing
differentiates through either fit, and x may be many.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._custom_types import FloatScalar, Point
from .._numerics import Checked

Pointwise = Callable[[PyTree, Array, Point], FloatScalar]
Predictor = Callable[[Point], Array]


class FunctionalBilevel(Checked):
    """The two regressions and the hypergradient that they give.

    **Arguments:** `outer`: L(θ, v, x) of one point. `inner`: ℓ(θ, v, x), convex in v.

    !!! example

        ```python
        # An instrument z: h(z) predicts f_θ(x), and y is compared with h.
        problem = fm.FunctionalBilevel(
            lambda theta, v, d: (d["y"] - v) ** 2 / 2,
            lambda theta, v, d: (v - theta * d["x"]) ** 2 / 2,
        )
        data = fm.Particles(dict(z=jnp.arange(3.0), x=jnp.arange(3.0), y=jnp.ones(3)))
        h, a = lambda d: 0.9 * d["z"], lambda d: 1 - 0.9 * d["z"]
        problem.gradient(1.0, h, a, data)
        ```
    """

    outer: Pointwise
    inner: Pointwise

    def inner_loss(self, predictor: Predictor, theta: PyTree, mu: Any) -> FloatScalar:
        """E ℓ, which the predictor h minimises."""
        return mu.mean(lambda x: self.inner(theta, predictor(x), x))

    def adjoint_loss(
        self, adjoint: Predictor, predictor: Predictor, theta: PyTree, mu: Any
    ) -> FloatScalar:
        """E [½ ⟨a, ∂_v² ℓ a⟩ + ⟨a, ∂_v L⟩], which the adjoint a minimises; h is held."""

        def loss(x):
            v = jax.lax.stop_gradient(predictor(x))
            a = adjoint(x)
            slope = jax.grad(lambda v: jnp.asarray(self.inner(theta, v, x)))
            pull = jax.grad(lambda v: jnp.asarray(self.outer(theta, v, x)))(v)
            return jnp.vdot(a, jax.jvp(slope, (v,), (a,))[1]) / 2 + jnp.vdot(a, pull)

        return mu.mean(loss)

    def value(self, theta: PyTree, predictor: Predictor, mu: Any) -> FloatScalar:
        """J(θ) for the predictor that belongs to θ."""
        return mu.mean(lambda x: self.outer(theta, predictor(x), x))

    def gradient(self, theta: PyTree, predictor: Predictor, adjoint: Predictor, mu: Any) -> PyTree:
        """∇J(θ), of the structure of θ, for the h and a that belong to θ."""

        def pulled(theta):
            def one(x):
                v = predictor(x)
                slope = jax.grad(lambda v: jnp.asarray(self.inner(theta, v, x)))(v)
                return self.outer(theta, v, x) + jnp.vdot(slope, adjoint(x))

            return mu.mean(one)

        return jax.grad(pulled)(jax.tree.map(jnp.asarray, theta))

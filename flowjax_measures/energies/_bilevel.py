r"""Functional bilevel problems: a predictor that is itself a minimum ([petrulionyte2024]).

    J(θ, μ) = L(θ, u_θ, μ),   u_θ = argmin_u ℓ(θ, u, μ)
    ∇J = ∂_θ L + ∂_θ∂_u ℓ a,   (∂_u² ℓ) a = −∂_u L

ℓ is strongly convex in the predictor u, which is an element of a function space: coefficients of
features. The adjoint a is one too; nothing differentiates through the search for u_θ. Convexity is
in the function, so that u_θ and ∇J are well defined, as they are not for the weights of a network.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from .._custom_types import FloatScalar
from .._numerics import Checked
from ._newton_products import minimum_by_products, solve_by_products

Objective = Callable[[PyTree, PyTree, Any], FloatScalar]


class Bilevel(Checked):
    """An objective J(θ, μ) whose derivative in θ is the implicit one, the hypergradient.

    **Arguments:** `outer`: L(θ, u, μ). `inner`: ℓ(θ, u, μ), strongly convex in u. `start`: where
    the search for u begins, which fixes its structure. `max_steps`: bound on Newton's steps.
    `matrix_free`: whether Newton's equations are solved by conjugate gradients, of products with
    the Hessian alone: for u of thousands of numbers, such as values at as many points.

    !!! example

        Regression with an instrument z: ℓ = ½ E(uᵀψ(z) − f_θ(x))² + ridge, L = ½ E(y − uᵀψ(z))²;
        with linear f and ψ its minimum is two-stage least squares.

    !!! example

        ```python
        fm.Bilevel(
            lambda theta, u: jnp.sum((u - theta) ** 2),
            lambda theta, u: jnp.sum(u**2),
            jnp.zeros(2),
        )
        ```
    """

    outer: Objective
    inner: Objective
    start: PyTree
    max_steps: int = eqx.field(static=True, default=50)
    matrix_free: bool = eqx.field(static=True, default=False)

    def predictor(self, theta: PyTree, mu: Any = None) -> PyTree:
        """u_θ, differentiable once; NaN where the search ends at no strict minimum."""
        flat, unravel = ravel_pytree(self.start)
        slope = lambda u, theta: jax.grad(lambda v: self.inner(theta, unravel(v), mu))(u)  # noqa: E731
        tolerance = float(jnp.finfo(flat.dtype).eps) ** 0.75
        held = jax.lax.stop_gradient(theta)
        if self.matrix_free:
            still: Any = jax.tree.map(_held, mu)
            flat_slope = jax.grad(lambda v: self.inner(held, unravel(v), still))
            u = minimum_by_products(flat_slope, flat, self.max_steps)
            return unravel(u - solve_by_products(flat_slope, u, slope(u, theta)))
        found = optx.root_find(
            lambda u, _: slope(u, held),
            optx.Newton(tolerance, tolerance),
            flat,
            max_steps=self.max_steps,
            throw=False,
        )
        solved = found.result == optx.RESULTS.successful
        u = jax.lax.stop_gradient(jnp.where(solved, found.value, jnp.nan))
        # One more step of Newton's: its derivative in θ is that of the implicit function.
        curvature = jax.lax.stop_gradient(jax.jacfwd(slope)(u, held))
        # Where ℓ is not convex, what was found is no minimum.
        lowest = jnp.linalg.eigvalsh((curvature + curvature.T) / 2)[0]
        u = jnp.where(lowest > 0, u, jnp.nan)
        return unravel(u - jnp.linalg.solve(curvature, slope(u, theta)))

    def __call__(self, theta: PyTree, mu: Any = None) -> FloatScalar:
        """J(θ, μ)."""
        return self.outer(theta, self.predictor(theta, mu), mu)


def _held(leaf: Any) -> Any:
    return jax.lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf

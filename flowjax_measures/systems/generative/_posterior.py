"""What is known of the ends of an interpolant, part by part of its coupling."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ...measures import AbstractMeasure, Gaussian, Particles

# Up to this dimension the inverse of a triangle is as good as a solution.
_SMALL = 8


class Posterior(NamedTuple):
    """E[X_0 | x], E[X_1 | x] (the denoiser), the score ∇ log ρ_t(x) and log ρ_t(x)."""

    source: Array
    target: Array
    score: Array
    log_density: FloatScalar


class Parts(NamedTuple):
    """A part of a coupling: X_0 with mean a and covariance A, X_1 with b and B, and Cov(X_0, X_1).

    `None` is a covariance of zero.
    """

    a: Any
    A: Any
    b: Any
    B: Any
    cross: Any = None

    def mean(self, alpha, beta) -> Array:
        """Of α X_0 + β X_1."""
        return alpha * self.a + beta * self.b

    def covariance(self, alpha, beta) -> Any:
        """Of α X_0 + β X_1."""
        total = 0 if self.A is None else alpha**2 * self.A
        total = total if self.B is None else total + beta**2 * self.B
        if self.cross is None:
            return total
        return total + alpha * beta * (self.cross + self.cross.T)

    def regress(self, alpha, beta, pull) -> tuple[Array, Array]:
        """E X_0 and E X_1 given α X_0 + β X_1 + noise, of which `pull` is K⁻¹ (· − mean)."""
        start, end = self.a, self.b
        if self.A is not None:
            start = start + alpha * (self.A @ pull)
        if self.B is not None:
            end = end + beta * (self.B @ pull)
        if self.cross is not None:
            start = start + beta * (self.cross @ pull)
            end = end + alpha * (self.cross.T @ pull)
        return start, end


def shared(source: AbstractMeasure, target: AbstractMeasure, cross: Any) -> Parts | None:
    """The covariances, where all parts have the same: `None` for mixtures of Gaussians."""
    covs = [m.cov if isinstance(m, Gaussian) else None for m in (source, target)]
    if any(isinstance(m, Particles) and isinstance(m.x, tuple) for m in (source, target)):
        return None
    return Parts(0, covs[0], 0, covs[1], cross)


def _solved(matrix, inverse, right):
    """M⁻¹ r by products, which batch well, refined where the inverse may have lost its digits."""
    found = inverse @ right
    if right.size <= _SMALL:
        return found
    return found + inverse @ (right - matrix @ found)


def posterior(
    tilt: Callable, common: Parts | None, coefficients: tuple, x: Float[Array, " d"]
) -> Posterior:
    """The posterior of I = α X_0 + β X_1 + γ Z at I = x.

    **Arguments:** `tilt`: tilted means over the parts of the coupling. `common`: what `shared`
    says of them. `coefficients`: α, β, γ².
    """
    alpha, beta, square = coefficients
    # At the ends of paths between atoms the covariance is 0: there it is what round-off leaves.
    identity = jnp.eye(x.size, dtype=x.dtype)
    noise = (square + jnp.finfo(x.dtype).eps ** 2) * identity

    def whiten(parts: Parts):
        if parts.a.shape != x.shape:
            raise ValueError(f"`x` has shape {x.shape}, and the ends {parts.a.shape}.")
        cov = noise + parts.covariance(alpha, beta)
        # Smooth processes are singular but for round-off, of which Cholesky's factor is NaN.
        cov = cov + 4 * jnp.finfo(x.dtype).eps * jnp.trace(cov) * identity
        root = jnp.linalg.cholesky(cov)
        inverse = solve_triangular(root, identity, lower=True)
        return root, inverse, _solved(root, inverse, x - parts.mean(alpha, beta))

    def logits(parts):
        root, _, rest = whiten(parts)
        return -jnp.sum(jnp.log(jnp.diagonal(root))) - jnp.sum(rest**2) / 2

    def ends(parts):
        root, inverse, rest = whiten(parts)
        pull = _solved(root.T, inverse.T, rest)
        return *parts.regress(alpha, beta, pull), -pull

    if common is None:
        found, log_density = tilt(ends, logits)
    else:
        # All is affine in the means of the parts: d numbers a part instead of d².
        (a, b), log_density = tilt(lambda parts: (parts.a, parts.b), logits)
        found = ends(common._replace(a=a, b=b))
    start, end, score = found
    return Posterior(start, end, score, log_density - x.size * math.log(2 * math.pi) / 2)

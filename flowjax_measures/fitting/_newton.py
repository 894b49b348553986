"""Newton's method for losses of few parameters that are cheap to differentiate twice."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from .._numerics import jitted


@jitted
def _move(objective: Any, free: list[Array]):
    """The Newton step on the absolute values of the curvatures, and the fall that it predicts."""
    flat, unravel = ravel_pytree(free)
    value = lambda u: objective(unravel(u))  # noqa: E731
    # Few numbers: tangents of tangents; a reverse pass is dearer.
    first = jax.jacfwd if objective.forward else jax.jacrev
    slope, hessian = first(value)(flat), jax.jacfwd(first(value))(flat)
    curvatures, axes = jnp.linalg.eigh((hessian + hessian.T) / 2)
    size = jnp.abs(curvatures)
    along = axes.T @ slope
    # A flat axis has no step of its own.
    seen = size > jnp.finfo(size.dtype).eps * size.size * jnp.max(size)
    step = jnp.where(seen, along / jnp.where(seen, size, 1), 0)
    return unravel(flat - axes @ step), jnp.vdot(along, step) / 2


class Newton:
    """Newton's steps, halved until the loss falls; exact in one on a quadratic."""

    def __init__(self, objective: Any):
        self.objective = objective
        self.base: list[Array] | None = None
        self.value = float("inf")
        self.fall = float("inf")

    def step(self, free: list[Array], values: np.ndarray, gradient: list[Array]) -> list[Array]:
        """The next variables; they come and go with a leading axis of one."""
        value = float(values[0])
        if self.base is not None and value > self.value:
            return jax.tree.map(lambda a, b: (a + b) / 2, free, self.base)
        self.base, self.value = free, value
        moved, fall = _move(self.objective, [u[0] for u in free])
        self.fall = float(fall)
        return [u[None] for u in moved]

    def solved(self) -> bool:
        """Whether the next step would lower the loss by no more than round-off."""
        epsilon = float(jnp.finfo(jax.tree.leaves(self.base)[0].dtype).eps) if self.base else 0
        return self.fall <= 100 * epsilon * max(abs(self.value), 1)

r"""The likelihood of increments of paths with identities.

Over a step h the increment of a point has, to first order, the law N(v h, σσᵀ h), so that

    −log L = ½ Σ_k Σ_i [ (Δx − v h)ᵀ (σσᵀ h)⁻¹ (Δx − v h) + log det(σσᵀ h) ]   up to a constant.

In parameters that enter v linearly it is quadratic: least squares. Without noise the loss is the
mean of |Δx/h − v|², the least squares of kernel learning. Euler's law has a bias of
order h in the parameters. The noise must be each point's own, and non-degenerate.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from .._system import AbstractMeanField
from ..measures import Particles
from ..measures._base import evaluate, replace
from ..noise._noise import floating


def increment_likelihood(system: AbstractMeanField, ts: Any, snapshots: list[Particles]) -> Array:
    """−log L a point and a step, averaged by mass; without noise the mean squared error of v."""
    if not isinstance(system, AbstractMeanField):
        raise ValueError(
            '`system`: the loss "increments" needs the rates of one point, an `AbstractMeanField`.'
        )
    if not all(isinstance(mu, Particles) for mu in snapshots) or (
        len({mu.size() for mu in snapshots}) > 1
    ):
        raise ValueError(
            '`snapshots`: the loss "increments" follows particles with identities; give '
            "`Particles`, as many in each snapshot."
        )
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *[mu.x for mu in snapshots])
    dtype = jnp.result_type(*jax.tree.leaves(floating(stacked)))
    times = jnp.asarray(np.asarray(ts), dtype)
    before, after = (
        jax.tree.map(lambda a, s=s: a[s], stacked) for s in (slice(-1), slice(1, None))
    )
    first = snapshots[0]

    def one(arguments):
        t, h, x, y = arguments
        mu = replace(first, x=x)
        weights = jax.nn.softmax(mu.log_weights())
        law, noise = evaluate(lambda point: system.rates(t, point, mu), x)
        flat = jax.vmap(lambda p: ravel_pytree(floating(p))[0])
        error = flat(y) - flat(x) - h * flat(law.velocity)
        if noise is None:
            return jnp.vdot(weights, jnp.sum((error / h) ** 2, axis=1))
        if any(part.shared for part in noise.parts):
            raise ValueError(
                '`system`: the loss "increments" takes noise of each point alone; this system has '
                "noise that points share."
            )

        def density(point, e):
            parts = [part.squared(point) for part in noise.law(point)]
            root = jnp.linalg.cholesky(sum(parts[1:], parts[0]) * h)
            z = jax.scipy.linalg.solve_triangular(root, e, lower=True)
            return jnp.vdot(z, z) / 2 + jnp.sum(jnp.log(jnp.diag(root)))

        return jnp.vdot(weights, jax.vmap(density)(x, error))

    return jnp.mean(jax.lax.map(one, (times[:-1], jnp.diff(times), before, after)))

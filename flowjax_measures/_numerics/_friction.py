r"""Damping of momenta, ṗ = f − α(t) p, also where α is infinite.

Where α ~ c/(t − t₀) and p(t₀) = 0 the solution leaves t₀ with ṗ = f/(1 + c).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._custom_types import FloatScalar

Damping = FloatScalar | Callable[[FloatScalar], Any]


def damped(damping: Damping, t: FloatScalar, force: Array, p: Array) -> Array:
    """f − αp; where α is infinite its limit f/(1 + c) if p = 0, and NaN otherwise."""
    alpha, singular, c = _at(damping, t, p)
    limit = jnp.where(p == 0, force / (1 + c), jnp.nan)
    return jnp.where(singular, limit, force - alpha * p)


def undamped(damping: Damping, t: FloatScalar, drift: Array, p: Array) -> Array:
    """f, of f − αp: the inverse of `damped`."""
    alpha, singular, c = _at(damping, t, p)
    return jnp.where(singular, (1 + c) * drift, drift + alpha * p)


def _at(damping, t, p):
    """α, 0 where it is infinite; whether it is; and there c, read off one rounding later."""
    if not callable(damping):
        alpha = jnp.asarray(damping, p.dtype)
        return alpha, jnp.asarray(False), jnp.zeros_like(alpha)
    t = jnp.asarray(t, jnp.result_type(t, float) if isinstance(t, int | float) else None)
    singular = jnp.isinf(jax.lax.stop_gradient(jnp.asarray(damping(t))))
    later = jnp.where(singular, t + jnp.finfo(t.dtype).eps * (1 + jnp.abs(t)), t)
    alpha = jnp.asarray(damping(later))
    c = jnp.where(singular, (later - t).astype(alpha.dtype) * alpha, 0)
    return jnp.where(singular, 0, alpha).astype(p.dtype), singular, c.astype(p.dtype)

r"""Weights e^{−αf} that hold for any α and any energy.

The weighted mean of a law μ is ⟨φ⟩_{−αf}. Here α may be 0, 10¹⁵ or ∞ (the best point alone), and an
energy NaN or ±∞: a point of energy NaN or +∞ has no weight, one of −∞ all of it, and where no point
has any the mean is the plain one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Logits, NonNegative, Point, PointFunction
from ...measures import AbstractMeasure
from ._effective_sample_size import EffectiveSampleSize

Schedule = NonNegative | Callable[[FloatScalar], FloatScalar]


def at(value: Any, t: FloatScalar) -> Any:
    """A parameter at time t: schedules are functions of time."""
    return value(t) if callable(value) else value


def strength(
    alpha: Any, t: FloatScalar, mu: AbstractMeasure, objective: Callable[[Point], FloatScalar]
) -> FloatScalar:
    """α at time t: a number, a function of time, or a rule that looks at the energies."""
    return alpha.alpha(mu, objective) if isinstance(alpha, EffectiveSampleSize) else at(alpha, t)


def energy_logits(objective: Callable[[Point], FloatScalar], alpha: FloatScalar) -> Logits:
    """The function −αf of one point, for any α in [0, ∞]."""

    def logits(y):
        energy = jnp.asarray(objective(y))
        # Beyond the square root of the largest number α is as good as ∞.
        largest = jnp.finfo(energy.dtype).max ** 0.5
        return tame(-jnp.minimum(jnp.asarray(alpha, energy.dtype), largest) * energy)

    return logits


@jax.custom_jvp
def tame(logit: Float[Array, ""]) -> Float[Array, ""]:
    """NaN becomes −∞ and +∞ the largest number that sums stand."""
    logit = jnp.where(jnp.isnan(logit), -jnp.inf, logit)
    return jnp.minimum(logit, jnp.finfo(logit.dtype).max / 4)


@tame.defjvp
def _tame_jvp(primals, tangents):
    # The identity, so that a quadratic logit is still seen to be one; atoms without weight are
    # left out of derivatives where the mean is taken.
    return tame(primals[0]), tangents[0]


def weighted_mean(mu: AbstractMeasure, fn: PointFunction, logits: Logits) -> Any:
    """⟨fn⟩ tilted by `logits`, the plain mean where no atom has weight."""
    mean, log_normaliser = mu.tilt(fn, logits)
    empty = jnp.isneginf(log_normaliser)
    return jax.tree.map(lambda a, b: jnp.where(empty, b, a), mean, mu.mean(fn))


def normalised(mu: AbstractMeasure, logits: Logits) -> Float[Array, " n"]:
    """The weights by which `weighted_mean` weighs the atoms; they sum to one."""
    points, log_w = mu.atoms()
    tilted = log_w + jax.vmap(logits)(points)
    empty = jnp.all(jnp.isneginf(tilted))
    return jax.nn.softmax(jnp.where(empty, log_w, tilted))

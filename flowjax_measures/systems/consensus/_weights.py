r"""Weights e^{−αf} that hold for any α and any energy, and the rule that chooses α from them.

The weighted mean of a law μ is ⟨φ⟩_{−αf}. Here α may be 0, 10¹⁵ or ∞ (the best point alone), and an
energy NaN or ±∞: a point of energy NaN or +∞ has no weight, one of −∞ all of it, and where no point
has any the mean is the plain one.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Logits, Point, PointFunction, Scalar
from ...measures import AbstractMeasure

Schedule = Scalar | Callable[[FloatScalar], FloatScalar]


class EffectiveSampleSize(eqx.Module):
    r"""Chooses α so that the weights keep a given fraction of the sample effective.

        (∫ e^{−αf} dμ)² / ∫ e^{−2αf} dμ = fraction

    The left side decreases in α, from 1; α is found by bisection on log α, within a bracket made
    from the energies themselves, so that their scale doesn't matter. Where the fraction is below
    the mass of the best points no α solves it and the result is ∞; where all energies are equal it
    is 0. The derivative is that of the solution.

    **Arguments:** `fraction`: in (0, 1).
    """

    fraction: Scalar = 0.5

    def __check_init__(self):
        if isinstance(self.fraction, float) and not 0 < self.fraction < 1:
            raise ValueError(f"`fraction` is {self.fraction}; give a number between 0 and 1.")

    def alpha(self, mu: AbstractMeasure, objective: Callable[[Point], FloatScalar]) -> FloatScalar:
        """The α for the energies of the atoms of `mu`."""
        points, log_weights = mu.atoms()
        energies = jax.vmap(objective)(points)
        weights = jax.nn.softmax(log_weights)
        usable = jnp.isfinite(energies) & (weights > 0)
        energies = jnp.where(usable, energies, 0)
        gaps = jnp.where(usable, energies - jnp.min(energies, where=usable, initial=jnp.inf), 0)
        positive = usable & (gaps > 0)
        target = jnp.log(jnp.asarray(self.fraction, energies.dtype))
        weights = jnp.where(usable, weights, 0)

        def log_fraction(log_alpha, gaps):
            # The best point has exponent 0, so that sums neither overflow nor vanish.
            tilt = jnp.exp(-jnp.exp(log_alpha) * gaps)
            return 2 * jnp.log(jnp.vdot(weights, tilt)) - jnp.log(jnp.vdot(weights, tilt**2))

        def newton(log_alpha, gaps, slope):
            return log_alpha - (log_fraction(log_alpha, gaps) - target) / jnp.where(
                slope < 0, slope, -1
            )

        frozen = jax.lax.stop_gradient(gaps)
        low = jnp.log(1e-6 / jnp.max(frozen, where=positive, initial=1e-30))
        high = jnp.log(1e3 / jnp.min(frozen, where=positive, initial=1e30))

        def halve(_, bracket):
            low, high = bracket
            middle = (low + high) / 2
            above = jax.lax.stop_gradient(log_fraction(middle, frozen)) > target
            return jnp.where(above, middle, low), jnp.where(above, high, middle)

        # Halving finds the basin of Newton's method, of which the second step is round-off; its
        # slope is held, so that the derivative is that of the solution.
        root = jax.lax.stop_gradient(sum(jax.lax.fori_loop(0, 30, halve, (low, high))) / 2)
        slope = jax.lax.stop_gradient(jax.grad(log_fraction)(root, frozen))
        root = jax.lax.stop_gradient(newton(root, frozen, slope))
        root = newton(root, gaps, slope)
        unreachable = jnp.sum(jnp.where(gaps == 0, weights, 0)) >= self.fraction
        alpha = jnp.where(unreachable, jnp.inf, jnp.exp(jnp.where(unreachable, 0, root)))
        return jnp.where(jnp.any(positive), alpha, 0)


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

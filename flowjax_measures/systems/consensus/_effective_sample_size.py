r"""The rule that chooses α of the weights e^{−αf} by the effective sample size."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._custom_types import FloatScalar, Point, Scalar
from ...measures import AbstractMeasure


class EffectiveSampleSize(eqx.Module):
    r"""Chooses α so that the weights keep a given fraction of the sample effective.

        (∫ e^{−αf} dμ)² / ∫ e^{−2αf} dμ = fraction

    The left side decreases in α, from 1; α is found by bisection on log α, within a bracket made
    from the energies themselves, so that their scale doesn't matter. Where the fraction is below
    the mass of the best points no α solves it and the result is ∞; where all energies are equal it
    is 0. The derivative is that of the solution.

    **Arguments:** `fraction`: in (0, 1).

    !!! example

        `fm.ConsensusBased(f, alpha=fm.EffectiveSampleSize(0.2))`
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

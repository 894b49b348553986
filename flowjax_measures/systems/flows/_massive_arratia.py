r"""The massive Arratia flow: Brownian particles on the line that stick together, heavy ones slow.

    dx_i = √(α/m_i) dW_i until two meet; from then on they are one, of the sum of their masses

It is Brownian motion projected onto the order of the particles, in the geometry of Wasserstein:
dX = √α pr_X dW ([konarovskiy2017]). ∫ x dμ is a Brownian motion, of variance αM a unit of time for
the whole mass M; each particle is a martingale of quadratic variation α∫ ds/m(s). Clusters of
`LocalizedAttraction` follow it with α = 2/N ([gerber2025]).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import Positive
from ..._numerics import group_sums, groups, safe_sqrt
from ..._system import AbstractSystem
from ...measures import Increment, Particles
from ...measures._base import replace
from ...spaces import Euclidean


class MassiveArratia(AbstractSystem):
    r"""Particles on the line, points of shape (1,), with the masses of a measure.

    Whether two neighbours meet within a step is drawn from the law of a Brownian bridge, so that
    two clusters meet at exactly the right rate whatever the step; among several the error is that
    of meetings of three within a step. Particles that have met are at one place. Run it by its own
    steps, the default; Euler's never let particles meet.

    **Arguments:** `diffusion`: α.

    **Raises:** `ValueError` where the state is not `Particles` on the line.

    !!! example

        `mu = fm.Particles(jnp.arange(5.0)[:, None], weights=jnp.array([1.0, 2.0, 1.0, 3.0, 1.0]))`
        `run = fm.simulate(fm.MassiveArratia(), mu, [0.0, 1.0], dt=0.01, key=key)`
        `fm.number_of_clusters(run.final, 0.0)`
    """

    diffusion: Positive = 1.0

    def __call__(self, t, state):
        _check(state)
        still = replace(state, x=jnp.zeros_like(state.x), log_w=None)
        return Increment(still, _Sticky(state, self.diffusion))

    def transition(self, t, state, dt, increments):
        """One step of all particles, of length `dt`, by Brownian increments over it."""
        dtype = state.x.dtype
        mass = jnp.exp(state.log_weights()).astype(dtype)
        x = state.x[:, 0]
        # Atoms without mass come last, and meet nobody.
        order = jnp.lexsort((x, mass == 0))
        x, mass = x[order], mass[order]
        move = _Sticky(state, self.diffusion).apply(increments).x[:, 0][order]
        h = jnp.asarray(dt, dtype)
        chance = jax.scipy.special.ndtr(increments["meet"] / jnp.sqrt(h))[:-1]
        return replace(state, x=_back(order, self._met(x, move, mass, h, chance))[:, None])

    def _met(self, x: Array, move: Array, mass: Array, h: Array, chance: Array) -> Array:
        alive = mass > 0
        labels = groups((x[1:] > x[:-1]) | ~alive[1:])
        heavy = group_sums(mass, labels)
        # Of two neighbours, from a gap to a gap, the bridge has touched 0 with this probability.
        spread = self.diffusion * h * (1 / heavy[1:] + 1 / heavy[:-1])
        y = x + move
        before, after = x[1:] - x[:-1], y[1:] - y[:-1]
        apart = (after > 0) & (chance > jnp.exp(-2 * before * after / spread))
        joined = (labels[1:] == labels[:-1]) | ~apart
        first = groups(~joined | ~alive[1:])

        def places(labels):
            return group_sums(mass * y, labels) / jnp.where(alive, group_sums(mass, labels), 1)

        def crossed(labels):
            at = jax.lax.stop_gradient(places(labels))
            return (at[1:] < at[:-1]) & alive[1:] & (labels[1:] != labels[:-1])

        def merge(labels):
            return groups((labels[1:] != labels[:-1]) & ~crossed(labels))

        final = jax.lax.while_loop(lambda labels: jnp.any(crossed(labels)), merge, first)
        return jnp.where(alive, places(final), x)


class _Sticky(eqx.Module):
    """Particles at one place move together, by the mean of their moves."""

    state: Particles
    diffusion: Positive

    def brownian(self):
        shape = jax.ShapeDtypeStruct((self.state.size(),), self.state.x.dtype)
        return {"move": shape, "meet": shape}

    def apply(self, increments):
        x, mass = self.state.x[:, 0], jnp.exp(self.state.log_weights())
        order = jnp.argsort(x)
        labels = groups(jnp.diff(x[order]) > 0)
        # √m dW of each, summed over a cluster, has the variance of its mass.
        pushes = (safe_sqrt(self.diffusion * mass) * increments["move"])[order]
        heavy = group_sums(mass[order], labels)
        moved = jnp.where(heavy > 0, group_sums(pushes, labels) / jnp.where(heavy > 0, heavy, 1), 0)
        return replace(self.state, x=_back(order, moved)[:, None], log_w=None)


def _back(order: Array, values: Array) -> Array:
    return jnp.zeros_like(values).at[order].set(values)


def _check(state: Particles) -> None:
    if not isinstance(state, Particles) or getattr(state.x, "shape", ())[1:] != (1,):
        raise ValueError("MassiveArratia moves `Particles` on the line; give shape (n, 1).")
    if not isinstance(state.space, Euclidean):
        raise ValueError(f"MassiveArratia knows the line, and was given {state.space}.")

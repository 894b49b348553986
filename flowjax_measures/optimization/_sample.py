"""`sample`: points of nearly e^{−f} by consensus-based sampling."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Point, PRNGKey, Scalar
from ..measures import Particles
from ..systems.consensus import ConsensusBasedSampling
from ._start import placed, points, walls_of


def sample(
    objective: Callable[[Point], Any],
    initial: Any = None,
    *,
    bounds: Any = None,
    key: PRNGKey,
    particles: int = 1000,
    spread: Scalar = 1.0,
    alpha: Scalar = 1.0,
    dt: float = 0.5,
    steps: int = 100,
) -> Particles:
    r"""Points distributed nearly as e^{−f}, by exponential steps of `ConsensusBasedSampling`.

    Without derivatives, and right to the extent that e^{−f} is near a Gaussian.

    **Arguments:** as of `minimize`; `objective`: f; `alpha`: α; `steps`, `dt`: how many steps of
    which length; `bounds` only place the first points.
    """
    start, run = jax.random.split(key)
    walls = None if bounds is None else walls_of(bounds, initial)
    mu = points(initial, walls, start, particles, spread)
    return _march(ConsensusBasedSampling(objective, alpha), mu, run, dt, steps)


@eqx.filter_jit
def _march(system: Any, mu: Particles, key: PRNGKey, dt: Scalar, steps: int) -> Particles:
    def step(x, k):
        return system.step(placed(mu, x), dt, jax.random.fold_in(key, k)).x, None

    return placed(mu, jax.lax.scan(step, mu.x, jnp.arange(steps))[0])

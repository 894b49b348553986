"""`sample`: points of nearly e^{−f} by consensus-based sampling."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._custom_types import Count, Point, PRNGKey, Scalar
from .._numerics import checked, jitted
from .._numerics._checks import check_key
from ..measures import Particles
from ..noise._noise import floating
from ..systems.consensus import ConsensusBasedSampling
from ._start import placed, points, walls_of


@checked
def sample(
    objective: Callable[[Point], Any],
    initial: Any = None,
    *,
    bounds: Any = None,
    key: PRNGKey,
    particles: Count = 1000,
    spread: Scalar = 1.0,
    alpha: Scalar = 1.0,
    dt: Scalar = 0.5,
    steps: Count = 100,
) -> Particles:
    r"""Points distributed nearly as e^{−f}, by exponential steps of `ConsensusBasedSampling`.

    Without derivatives, and right to the extent that e^{−f} is near a Gaussian.

    **Arguments:** as of `minimize`; `objective`: f; `alpha`: α; `steps`, `dt`: how many steps of
    which length; `bounds` only place the first points.

    !!! example

        `fm.sample(f, bounds=box, key=key, particles=50)`
    """
    check_key(key)
    start, run = jax.random.split(key)
    walls = None if bounds is None else walls_of(bounds, initial)
    mu = points(initial, walls, start, particles, spread)
    dtype = jnp.result_type(*jax.tree.leaves(floating(mu.x)))
    # As arrays, other numbers compile nothing.
    alpha = jnp.asarray(alpha, dtype) if isinstance(alpha, int | float) else alpha
    system = ConsensusBasedSampling(objective, alpha)
    return _march(system, mu, run, jnp.asarray(dt, dtype), jnp.asarray(steps))


@jitted
def _march(system: Any, mu: Particles, key: PRNGKey, dt: Scalar, steps: Any) -> Particles:
    def step(k, x):
        return system.step(placed(mu, x), dt, jax.random.fold_in(key, k)).x

    return placed(mu, jax.lax.fori_loop(0, steps, step, mu.x))

r"""Long times of clusters: from merge to merge, on a logarithmic clock.

Clusters of attention wait e^{β(1 − ⟨x_i, x_j⟩)} and then merge at once, in a time that double
precision cannot add to the one waited. So a run goes in log t, ends when two clusters meet or when
its clock has no digits left, and goes on with a clock set to zero and with merged clusters as one
particle of their mass.
"""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._custom_types import FloatScalar
from .._numerics import checked
from .._system import AbstractSystem
from ..measures import Particles
from ..observables import merge_clusters
from ..observables._points import distance
from ._log_time import LogTime
from ._simulate import Results, simulate

# A run's clock starts at this log t, where nothing has moved yet.
_START = -7.0


class Coarsening(NamedTuple):
    """What `coarsen` returns: logarithms of the times of merges, the number of clusters after each,
    and the last clusters.

    !!! example

        `fm.coarsen(fm.MeanShift(), mu, 5.0).numbers`
    """

    log_times: np.ndarray
    numbers: np.ndarray
    final: Particles


@checked
def coarsen(
    system: AbstractSystem,
    mu: Particles,
    radius: FloatScalar,
    *,
    until: float = 60.0,
    solver: diffrax.AbstractSolver | None = None,
    **options: Any,
) -> Coarsening:
    r"""Follows clusters through all of their merges.

    **Arguments:**

    - `system`: without noise, and the same at all times; `MeanShift(beta=20.0)`, which keeps the
      digits of attractions as small as e^{−β(1 − ⟨x_i, x_j⟩)}.
    - `mu`: the clusters, `merge_clusters(tokens, radius)` of a run of tokens. Few: each merge
      changes the number of particles, and compiles anew.
    - `radius`: clusters at a distance of 2 · radius are one, as in `number_of_clusters`.
    - `until`: the logarithm of the time at which to stop.
    - `solver`, `options`: as in `simulate`; the stiff `diffrax.Kvaerno5()` by default.

    !!! example

        `coarsen(MeanShift(beta=20.0), clusters, 0.01).log_times`
    """
    solver = diffrax.Kvaerno5() if solver is None else solver
    mu, log_time, log_times, numbers = merge_clusters(mu, radius), -np.inf, [], []
    while mu.size() > 1 and log_time < until:
        run = simulate(
            LogTime(system), mu, [_START, until], solver=solver, throw=False,
            event=_Meeting(radius), **options,
        )  # fmt: skip
        elapsed = float(run.stats["t_final"])
        if run.result == Results.nonfinite or elapsed <= _START:
            raise RuntimeError(f"The run failed at log t = {elapsed}: {Results[run.result]}")
        log_time = np.logaddexp(log_time, elapsed + np.log1p(-np.exp(_START - elapsed)))
        mu = run.final
        if run.result == Results.event_occurred:
            # Round-off in the time of the event must not part what has met: the nearest two.
            mu = merge_clusters(mu, jnp.maximum(radius, _closest(mu) / 2) * (1 + 1e-6))
            log_times.append(log_time)
            numbers.append(mu.size())
    return Coarsening(np.array(log_times), np.array(numbers, int), mu)


class _Meeting(eqx.Module):
    """The event of two clusters that are one; a value, so that runs compile once for a number."""

    radius: FloatScalar

    def __call__(self, s: FloatScalar, mu: Particles) -> Array:
        return _closest(mu) - 2 * self.radius


def _closest(mu: Particles) -> Array:
    """The smallest distance of two particles, whose sign against the radius tells the time."""
    x, _ = mu.atoms()
    apart = lambda a: jax.vmap(lambda b: distance(mu.space, a, b))(x)  # noqa: E731
    return jnp.min(jnp.where(jnp.eye(mu.size(), dtype=bool), jnp.inf, jax.vmap(apart)(x)))

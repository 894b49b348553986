r"""Transport splines: smooth curves of measures through given ones ([chewi2021]).

    μ_t = (S_t)_# μ_0,   S natural cubic splines through x, T_1(x), T_2(T_1(x)), …

with T_k the optimal map from the measure at one time to that at the next: each particle moves with
the least ∫ ‖γ̈‖² through its positions. Between two measures it is McCann's geodesic. With
velocities given too, the least force is `kinetic_interpolation`.
"""

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import checked
from .._numerics._checks import within
from ..energies._bures import bures_map
from ..energies._ground import check_flat, shared_space
from ..measures import AbstractMeasure, Gaussian, Particles
from ..measures._base import concrete
from ._exact import coupling
from ._geodesics import assigned


@checked
def transport_spline(
    measures: Sequence[AbstractMeasure], times: Float[Array, " k"], t: FloatScalar
) -> AbstractMeasure:
    """The measure at time t of the spline through `measures` at `times`.

    **Arguments:** `measures`: Gaussians, or Particles of one number with equal weights; `times`:
    increasing, one for each; `t`: between the first and the last.

    **Raises:** `ValueError` for other measures, and for other times (NaN where they are traced).

    !!! example

        `fm.transport_spline([mu, nu, mu], jnp.array([0.0, 1.0, 2.0]), 0.5)`
    """
    if not measures:
        raise ValueError("`measures` is empty; give one measure for each time.")
    for nu in measures[1:]:
        shared_space(measures[0], nu)
    check_flat("transport_spline", *measures)
    times = jnp.asarray(times)
    if times.shape != (len(measures),) or (concrete(times) and not np.all(np.diff(times) > 0)):
        raise ValueError(f"`times` is {times}; give increasing times, one for each of `measures`.")
    shares = _cardinal(times, within("t", t, times[0], times[-1]))
    if all(isinstance(m, Gaussian) for m in measures):
        maps = [jnp.eye(measures[0].m.size)]  # pyright: ignore
        for mu, nu in pairwise(measures):
            maps.append(bures_map(mu, nu) @ maps[-1])  # pyright: ignore
        step = jnp.tensordot(shares, jnp.stack(maps), axes=1)
        cov = step @ measures[0].cov @ step.T  # pyright: ignore
        mean = shares @ jnp.stack([m.m for m in measures])  # pyright: ignore
        return Gaussian(mean, (cov + cov.T) / 2)
    if not all(isinstance(m, Particles) and m.log_w is None for m in measures) or (
        len({m.x.shape for m in measures}) != 1  # pyright: ignore
    ):
        raise ValueError(
            "`measures` are not all Gaussians, nor all Particles of one number without weights; "
            "only their optimal maps compose."
        )
    paths = [measures[0].x]  # pyright: ignore
    for nu in measures[1:]:
        plan = coupling(Particles(paths[-1]), nu)
        paths.append(assigned(plan, nu.x))  # pyright: ignore
    return Particles(jnp.tensordot(shares, jnp.stack(paths), axes=1))


def _cardinal(times: Float[Array, " k"], t: FloatScalar) -> Float[Array, " k"]:
    """What the natural cubic spline at t takes of the value at each time."""
    values, gaps = jnp.eye(times.size, dtype=times.dtype), jnp.diff(times)
    slopes = jnp.diff(values, axis=0) / gaps[:, None]
    inner = jnp.diag((gaps[1:] + gaps[:-1]) / 3)
    inner = inner + jnp.diag(gaps[1:-1] / 6, 1) + jnp.diag(gaps[1:-1] / 6, -1)
    bends = jnp.pad(jnp.linalg.solve(inner, jnp.diff(slopes, axis=0)), ((1, 1), (0, 0)))
    j = jnp.clip(jnp.searchsorted(times, t, side="right") - 1, 0, times.size - 2)
    h, b = gaps[j], (t - times[j]) / gaps[j]
    a = 1 - b
    curve = (a**3 - a) * bends[j] + (b**3 - b) * bends[j + 1]
    return a * values[j] + b * values[j + 1] + h**2 / 6 * curve

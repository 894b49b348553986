r"""When a run becomes infinite: the end of closures and of moments."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import Scalar
from .._numerics import checked
from .._numerics._checks import check_positive
from .._system import AbstractSystem
from ..measures._base import flowing
from ._simulate import Results, simulate
from ._terms import like


@checked
def blow_up_time(
    system: AbstractSystem, mu: Any, horizon: Scalar = 100.0, **options: Any
) -> Float[Array, ""]:
    r"""The time at which the run of a system without noise from `mu` becomes infinite.

    Near a blow-up the size y of the state, the root of the sum of its squares, grows as
    (T* − t)^{−p}; with q = y/y' then T* = t − q/q'. The run steps adaptively until q is
    4·10⁻⁷ of the time (4·10⁻³ in float32), where the error of that is negligible beside the
    steps'. Growth by an exponential is none.

    **Arguments:**

    - `system`: a system without noise; `mu`: its initial measure, as a rule a `Gaussian`.
    - `horizon`: where to stop looking.
    - `options`: what `simulate` takes, for example a `stepsize_controller` with tolerances of its
      own (1.4e-10 in float64), or `dt`.

    Differentiate in reverse.

    **Returns:** T*, or inf when there is none up to `horizon`.

    **Raises:** `ValueError` for a horizon that is not positive; `RuntimeError` where the run fails
    in another way, for example since the velocity ends at a finite state.

    !!! example

        `fm.blow_up_time(fm.SelfAttention(beta=β), fm.Gaussian(m, cov))`; in one dimension it is
        1/(2βσ²) with σ² the variance.
    """
    check_positive("horizon", horizon)

    def size(state):
        leaves = jax.tree.leaves(jax.tree.map(_moving, state, flowing(state)))
        return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in leaves))

    def along(fn, t, state):
        """A function of (t, state), and its rate along the run."""
        drift = like(state, system(t, state).drift)
        return jax.jvp(fn, (t, state), (jnp.ones_like(t), drift))

    def left(t, state):
        y, rate = along(lambda _, s: size(s), t, state)
        grows = rate > 0
        return jnp.where(grows, y / jnp.where(grows, rate, 1), jnp.inf)

    def near(t, state):
        t = jnp.asarray(t, float)
        small = 5 * np.finfo(t.dtype).eps ** 0.45
        return jnp.minimum(left(t, state), 1e6) - small * t

    tolerance = np.finfo(jnp.result_type(float)).eps ** 0.63
    if not {"dt", "steps", "stepsize_controller"} & set(options):
        options["stepsize_controller"] = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    ts = jnp.stack([jnp.zeros(()), jnp.asarray(horizon, float)])
    run = simulate(system, mu, ts, event=near, **options)
    time = jnp.asarray(run.stats["t_final"], float)
    q, slope = along(left, time, run.final)
    return jnp.where(run.result == Results.event_occurred, time - q / slope, jnp.inf)


def _moving(leaf, moves):
    return leaf if moves else None

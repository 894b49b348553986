"""How a run ended, and what to do about it."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..measures._base import concrete

Results = diffrax.RESULTS
"""How a run ended. `nonfinite` is a state that became inf or NaN."""

# What to do about it, beside what diffrax says.
_ADVICE = {
    "nonfinite": "So it counts where a covariance has a negative variance. Take a smaller `dt`, or "
    "leave it out for adaptive steps; `event` ends a run before a blow-up.",
    "max_steps_reached": "Tolerances below the round-off of float32 (1e-7) are never met: enable "
    "float64 with jax.config.update('jax_enable_x64', True), or loosen them. A stiff system wants "
    "solver=diffrax.Kvaerno5().",
    "nonlinear_max_steps_reached": "With ImplicitAdjoint: no steady state was reached; take a "
    "later end in `ts`, or a looser event.",
    "dt_min_reached": "The solution blows up in finite time, or jumps; `event` ends a run before.",
}

_FINE = tuple(int(code._value) for code in (Results.successful, Results.event_occurred))

_AT_ONCE = (
    "That is in the first step: the law is NaN or infinite where the run starts, or far too fast "
    "for the step. Look for NaN in its parameters and data and for 0/0 or log 0 in its formula, "
    "with `system(t, mu)`; else take a smaller `dt`."
)


def _first_step(trajectory: Any) -> tuple[float, float]:
    """Where a run starts, and a bound of its first step: it takes one and a half of the mean."""
    start, end = (float(trajectory.ts[i]) for i in (0, -1))
    span = (end if np.isfinite(end) else float(trajectory.stats["t_final"])) - start
    return start, 1.5 * span / max(int(trajectory.stats["num_steps"]), 1)


def raised(trajectory: Any) -> Any:
    result = trajectory.result
    bad_time = trajectory.stats["bad_time"]
    if concrete(result, bad_time):
        # Read off in NumPy: two comparisons of JAX cost more than a short run.
        code = np.asarray(result._value)
        if np.all((code == _FINE[0]) | (code == _FINE[1])):
            return trajectory
        if jnp.ndim(bad_time) > 0:
            raise RuntimeError("A run of the batch failed; `throw=False` returns them all.")
        at = float(jnp.minimum(bad_time, trajectory.stats["t_final"]))
        advice = [text for name, text in _ADVICE.items() if result == getattr(Results, name)]
        start, step = _first_step(trajectory)
        if abs(at - start) <= abs(step):
            advice = [_AT_ONCE]
        raise RuntimeError(
            " ".join([Results[result], f"It stopped at t = {at:.6g}.", *advice])
            + " `throw=False` returns the run as it is."
        )
    fine = (result == Results.successful) | (result == Results.event_occurred)
    ys, final = result.error_if((trajectory.ys, trajectory.final), ~fine)
    return eqx.tree_at(lambda r: (r.ys, r.final), trajectory, (ys, final))

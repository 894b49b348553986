"""What `fit` is asked, checked and made into the loss of unconstrained variables."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._system import AbstractSystem
from ..inference import couple
from ..inference._parameters import Parameters, select
from ..measures import Particles
from ..measures._base import check_finite, is_measure
from ._asked import Comparison, Fitted, Runs
from ._losses import WITHOUT_RUN, named
from ._objective import Objective, sizes

# Up to so many numbers a tangent each is cheaper than a reverse pass: `benchmarks/fit.py routes`.
_FORWARD = 4


def pose(
    system: AbstractSystem,
    data: Any,
    initial: Any,
    fitted: Fitted,
    comparison: Comparison,
    runs: Runs,
    adjoint: Any,
) -> Objective:
    """Checks what `fit` is asked and builds the loss."""
    if not isinstance(system, AbstractSystem):
        raise ValueError(f"`system` is {type(system)}; give a system whose fields are fitted.")
    times, snapshots = _data(data)
    initial = snapshots[0] if initial is None else initial
    populations = 1
    if isinstance(initial, list | tuple) and all(map(is_measure, initial)):
        populations = len(initial)
        initial = _stack(list(initial))
    arrays = [a for a in jax.tree.leaves(initial) if eqx.is_inexact_array(a)]
    if not arrays:
        raise ValueError("`snapshots` hold no floats; give measures, one for each time.")
    dtype = jnp.result_type(*arrays)
    parameters = select(system, *fitted, dtype)
    loss = comparison.loss
    if comparison.independent and not isinstance(loss, str):
        raise ValueError("`independent` belongs to named losses; build it into your `loss`.")
    velocities = None
    if isinstance(loss, str):
        if loss == "jko":
            if _noisy(system, jnp.asarray(times[0], dtype), snapshots[0]):
                raise ValueError(
                    '`loss` is "jko", whose velocities are those of a flow without noise, and '
                    '`system` has noise. Fit through the run, by a distance or by "summaries".'
                )
            velocities = couple(times, snapshots, epsilon=comparison.epsilon).velocities(at="end")
        loss = named(comparison, snapshots, populations, dtype)
        if loss.name in WITHOUT_RUN and (runs.shooting is not None or populations > 1):
            raise ValueError(
                f"`shooting` and several `initial` are of runs; the loss {loss.name!r} has none."
            )
    _check_pieces(times, snapshots, populations, runs.shooting, runs.batch, runs.pieces)
    forward, adjoint = _route(adjoint, parameters, runs.dt)
    if adjoint is not None:
        runs = eqx.tree_at(lambda r: r.options, runs, runs.options | {"adjoint": adjoint})
    return Objective(parameters, loss, tuple(times.tolist()), initial, populations, snapshots,
                     velocities, runs, forward)  # fmt: skip


def _noisy(system: AbstractSystem, t: Any, state: Any) -> bool:
    seen = []
    jax.eval_shape(lambda: seen.append(system(t, state).noise is not None))
    return seen[0]


def _list(snapshots: Any) -> list:
    if is_measure(snapshots):
        raise ValueError(
            "`snapshots` is one measure; give a list of them, one for each time. Snapshots stacked "
            "by `simulate` are [jax.tree.map(lambda a: a[i], run.ys) for i in range(len(run.ts))]."
        )
    return list(snapshots)


def _data(data) -> tuple[np.ndarray, list]:
    try:
        ts, snapshots = data
    except (TypeError, ValueError) as error:
        raise ValueError("`data` must be a pair (ts, snapshots).") from error
    if any(map(is_measure, jax.tree.leaves(ts, is_leaf=is_measure))):
        raise ValueError(
            "`data` is a pair (ts, snapshots), the times first; here they are measures."
        )
    times, snapshots = np.asarray(ts, np.float64), _list(snapshots)
    check_finite(snapshots, "snapshots")
    if times.ndim != 1 or len(snapshots) != times.size or times.size < 2:
        raise ValueError(
            f"`ts` has shape {times.shape} and `snapshots` has {len(snapshots)} entries; give one "
            "snapshot for each of at least two times, the first where the run starts."
        )
    if not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
        raise ValueError("`ts` must be finite and strictly increasing.")
    return times, snapshots


def _check_pieces(times, snapshots, populations, shooting, batch, pieces):
    if shooting is not None and not (0 < shooting < len(times) and populations == 1):
        raise ValueError(
            f"`shooting` is {shooting}; give a number of intervals, at most {len(times) - 1}, and "
            "leave `initial` out: runs start from the snapshots."
        )
    if pieces is not None and (shooting is None or pieces < 1):
        raise ValueError("`pieces` is a number of runs to draw; it needs `shooting`.")
    if batch is not None:
        smallest = min(min(sizes(s), default=0) for s in snapshots)
        if populations > 1 or not 0 < batch <= smallest:
            raise ValueError(
                f"`batch` is {batch}; give a number of particles of every snapshot, at most "
                f"{smallest}, and one population."
            )


def _route(adjoint: Any, parameters: Parameters, dt) -> tuple[bool, Any]:
    """Whether to differentiate forward, and diffrax's adjoint for it."""
    if not isinstance(adjoint, str):
        return isinstance(adjoint, diffrax.ForwardMode), adjoint
    if adjoint not in ("auto", "forward", "reverse"):
        raise ValueError(
            f'`adjoint` is {adjoint!r}; it is "auto", "forward", "reverse" or a diffrax adjoint.'
        )
    few = sum(theta.size for theta in parameters.values()) <= _FORWARD
    forward = adjoint == "forward" or (adjoint == "auto" and few)
    return forward, diffrax.ForwardMode() if forward and dt is None else None


def _stack(initial: list) -> Particles:
    same = {(type(mu), jax.tree.structure(mu), sizes(mu)) for mu in initial}
    if len(same) != 1 or not isinstance(initial[0], Particles):
        raise ValueError(
            "`initial`: several populations are `Particles`, as many in each; their number is free."
        )
    parts = [eqx.partition(mu, eqx.is_array) for mu in initial]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *[arrays for arrays, _ in parts])
    return eqx.combine(stacked, parts[0][1])

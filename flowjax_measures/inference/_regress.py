r"""Least squares of velocities, for parameters that enter them linearly.

    min_θ Σ_k ∫ ‖v_θ(t_k, x, μ_k) − v̂_k(x)‖² μ_k(dx)  +  ridge ‖θ‖²

With trajectories it is the learning of interaction kernels of [lu2019a], which recovers a
kernel in the span of its basis exactly; with velocities from couplings, at the ends of intervals,
the closed quadratic loss of [terpin2024]. The design is scaled column by column and solved by its
singular values, which tell what the data do not identify.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float

from .._numerics import checked, jitted
from .._system import AbstractSystem
from ..measures._base import check_finite, is_measure
from ..noise._noise import floating
from ._each import each
from ._parameters import Parameters, select


class Regression(eqx.Module):
    """What `regress` returns.

    - `system`: the system with the parameters found.
    - `residual`: the root mean square of v_θ − v̂, and that of v̂ is `scale`.
    - `singular_values`: of the design with columns of unit length, in decreasing order.
    - `directions`: the right singular vectors, rows, in the order of `names` and in units of the
      columns' lengths; those of singular values below `cutoff` are left out of the solution.
    - `errors`: standard errors of the parameters for independent residuals of equal variance.

    !!! example

        ```python
        fm.regress(
            fm.McKeanVlasov(fm.Quadratic(1.0)), ([0.0], [mu]), [-2 * mu.x],
            where=lambda s: s.potential.stiffness,
        ).system.potential
        ```
    """

    system: AbstractSystem
    residual: float
    scale: float
    singular_values: Float[np.ndarray, " p"]
    directions: Float[np.ndarray, "p p"]
    errors: Float[np.ndarray, " p"]
    names: list[str]


@checked
def velocity_error(
    system: AbstractSystem, ts: Any, snapshots: Sequence[Any], velocities: Sequence[Any]
) -> Array:
    """The mean over times of ∫ ‖v_θ − v̂‖² dμ.

    !!! example

        `fm.velocity_error(fm.MeanShift(), [0.0], [mu], [mu.x])`
    """
    square = lambda t, mu, v: jnp.sum(_residual(system, t, mu, v) ** 2)  # noqa: E731
    parts = each(square, _times(ts, _dtype(snapshots)), snapshots, velocities)
    return sum(parts[1:], parts[0]) / len(parts)


@checked
def regress(
    system: AbstractSystem,
    data: tuple[ArrayLike | Sequence[float], Sequence[Any]],
    velocities: Sequence[Any] | None = None,
    *,
    where: Callable[[Any], Any] | None = None,
    ridge: float = 0.0,
    cutoff: float | None = None,
) -> Regression:
    r"""Least squares of observed velocities in parameters that enter a system's velocity linearly.

    **Arguments:**

    - `system`: where parameters start; its noise plays no part.
    - `data`: `(ts, snapshots)`: times, and `Particles` or dicts of them.
    - `velocities`: for each snapshot the velocity of each particle, arrays as its points; `None`
      is finite differences of second order, of particles with identities. For velocities from
      couplings leave out the snapshot that has none: at the start the last, at the end the first.
    - `where`: the fields, as in `fit`; default every float.
    - `ridge`: the penalty on ‖θ‖², relative to the mean squared column.
    - `cutoff`: singular values below `cutoff` times the largest are left out; default round-off.

    **Raises:** `ValueError` that names the argument, also where the velocity is not affine.

    !!! example

        ```python
        law = fm.RadialInteraction(fm.PiecewiseLinear(jnp.linspace(0, 4, 30)))
        found = fm.regress(law, (ts, snapshots), velocities, where=lambda s: s.influence.values)
        ```
    """
    ts, snapshots = np.asarray(data[0], np.float64), list(data[1])
    if ts.shape != (len(snapshots),):
        raise ValueError(f"`data`: {ts.shape} times for {len(snapshots)} snapshots.")
    check_finite(snapshots, "data")
    if velocities is None:
        velocities = _differences(ts, snapshots)
    if len(velocities) != len(snapshots):
        raise ValueError(
            f"`velocities` has {len(velocities)} entries for {len(snapshots)} snapshots; those "
            "from couplings miss the last snapshot (at the start) or the first (at the end)."
        )
    check_finite(velocities, "velocities")
    dtype = jnp.result_type(*[a for a in jax.tree.leaves(snapshots) if eqx.is_inexact_array(a)])
    parameters = select(system, where, False, None, False, dtype)
    start, unravel = ravel_pytree(parameters.values())
    linear = _linear(parameters, _times(ts, dtype), snapshots, velocities)
    zero, design, other, moved = (np.asarray(a, np.float64) for a in linear)
    theta = np.asarray(start, np.float64)
    bend = np.linalg.norm(moved - zero - design @ (other - theta))
    epsilon = float(jnp.finfo(dtype).eps)
    if bend > np.sqrt(epsilon) * (np.linalg.norm(moved) + np.linalg.norm(zero)):
        raise ValueError(
            "`where` names parameters that do not enter the velocity linearly; use `fit` with loss "
            '"increments" or "jko", or name others.'
        )
    lengths = np.linalg.norm(design, axis=0)
    lengths = np.where(lengths > 0, lengths, 1)
    left, values, right = np.linalg.svd(design / lengths, full_matrices=False)
    target = design @ theta - zero
    cutoff = epsilon * max(design.shape) if cutoff is None else cutoff
    kept = values > cutoff * values.max()
    inverse = np.where(kept, values / np.where(kept, values**2 + ridge, 1), 0)
    found = right.T @ (inverse * (left.T @ target)) / lengths
    rest = design @ found - target
    freedom = max(rest.size - int(kept.sum()), 1)
    errors = np.sqrt(np.sum((right.T * inverse) ** 2, axis=1) * np.sum(rest**2) / freedom) / lengths
    system = parameters.with_values(unravel(jnp.asarray(found, dtype)))
    offset = np.sqrt(sum(float(jnp.sum(_weighted(mu, v) ** 2)) for mu, v in zip(
        snapshots, velocities, strict=True)) / len(ts))  # fmt: skip
    return Regression(system, float(np.linalg.norm(rest)), float(offset), values, right, errors,
                      parameters.names())  # fmt: skip


@jitted
def _linear(parameters: Parameters, times: list[Array], snapshots: list, velocities: list):
    """The residual and its derivative at the start, and, to tell whether it is affine, a second
    point and the residual there.
    """
    start, unravel = ravel_pytree(parameters.values())

    def residual(theta):
        law = parameters.with_values(unravel(theta))
        errors = each(lambda *row: _residual(law, *row), times, snapshots, velocities)
        return jnp.concatenate(errors) / np.sqrt(len(times))

    along = lambda v: jax.jvp(residual, (start,), (v,))[1]  # noqa: E731
    design = jax.lax.map(along, jnp.eye(start.size, dtype=start.dtype)).T
    other = start + jnp.where(start == 0, 1, jnp.abs(start))
    return residual(start), design, other, residual(other)


def _residual(system: AbstractSystem, t: Any, state: Any, velocity: Any) -> Array:
    """√w_i (v_θ − v̂)(x_i) of all particles, flat."""
    drift = system(t, state).drift
    return _weighted(state, _points(drift)) - _weighted(state, velocity)


def _weighted(state: Any, velocity: Any) -> Array:
    measures = jax.tree.leaves(state, is_leaf=is_measure)
    velocities = [velocity] if is_measure(state) else [velocity[name] for name in sorted(state)]
    parts = []
    for mu, v in zip(measures, velocities, strict=True):
        flat = jax.vmap(lambda p: ravel_pytree(floating(p))[0])(v)
        if flat.shape[0] != mu.size():
            raise ValueError(
                f"`velocities`: {flat.shape[0]} velocities for {mu.size()} particles of a snapshot."
            )
        roots = jnp.sqrt(jax.nn.softmax(mu.log_weights()))
        parts.append((roots[:, None] * flat).ravel())
    return jnp.concatenate(parts)


def _times(ts: Any, dtype: Any) -> list[Array]:
    # One by one: a traced array of more than a hundred cannot be iterated over.
    return [jnp.asarray(t, dtype) for t in ts]


def _points(state: Any) -> Any:
    return state.x if is_measure(state) else {name: mu.x for name, mu in state.items()}


def _dtype(state: Any):
    return jnp.result_type(*[a for a in jax.tree.leaves(state) if eqx.is_inexact_array(a)])


def _differences(ts: np.ndarray, snapshots: list) -> list:
    """Velocities of particles with identities, of second order also at the ends."""
    points = [floating(_points(s)) for s in snapshots]
    shapes = {tuple(a.shape for a in jax.tree.leaves(p)) for p in points}
    if len(shapes) != 1 or len(ts) < 3:
        raise ValueError(
            "`velocities`: finite differences need three snapshots or more, of as many particles; "
            "without identities take `couple(ts, snapshots).velocities()`."
        )
    slope = lambda *a: np.gradient(np.stack(a), ts, axis=0, edge_order=2)  # noqa: E731
    found = jax.tree.map(slope, *points)
    return [jax.tree.map(lambda a, k=k: jnp.asarray(a[k]), found) for k in range(len(ts))]

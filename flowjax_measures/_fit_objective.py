"""The loss of a fit as a function of unconstrained variables."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ._fit_increments import increment_likelihood
from ._fit_losses import Distance, average, named
from ._fit_parameters import Parameters, select
from ._simulate import simulate
from ._system import AbstractSystem


class Objective(eqx.Module):
    """The loss as a function of unconstrained variables; all that it depends on are its fields."""

    parameters: Parameters
    loss: Callable
    times: tuple[float, ...]
    initial: PyTree
    snapshots: list
    key: Any
    dt: float | None
    options: dict[str, Any]

    def __call__(self, free: list[Array]) -> Array:
        system = self.parameters.with_values(self.parameters.constrained(free))
        if isinstance(self.loss, Distance) and self.loss.name == "increments":
            return increment_likelihood(system, self.times, self.snapshots)
        run = simulate(
            system, self.initial, self.times, dt=self.dt, key=self.key, throw=False, **self.options
        )
        # `ys` holds the arrays of the states alone.
        rest = eqx.filter(run.final, eqx.is_array, inverse=True)
        states = [
            eqx.combine(jax.tree.map(lambda a, i=i: a[i], run.ys), rest)
            for i in range(1, len(self.times))
        ]
        return average(self.loss, states, self.snapshots[1:])

    def without_cones(self) -> "Objective":
        """The same loss, where it has a Hessian; see `Distance.without_cones`."""
        if not isinstance(self.loss, Distance):
            return self
        return eqx.tree_at(lambda o: o.loss, self, self.loss.without_cones(self.snapshots))


@eqx.filter_jit
def value_and_gradient(objective: Objective, free: list[Array]):
    return jax.value_and_grad(objective)(free)


def pose(system, data, initial, where, positive, bounds, loss, kernel, epsilon, directions,
               independent, dt, key, options) -> Objective:  # fmt: skip
    if not isinstance(system, AbstractSystem):
        raise ValueError(f"`system` is {type(system)}; give a system whose fields are fitted.")
    try:
        ts, snapshots = data
    except (TypeError, ValueError) as error:
        raise ValueError("`data` must be a pair (ts, snapshots).") from error
    times, snapshots = np.asarray(ts, np.float64), list(snapshots)
    if times.ndim != 1 or len(snapshots) != times.size or times.size < 2:
        raise ValueError(
            f"`ts` has shape {times.shape} and `snapshots` has {len(snapshots)} entries; give one "
            "snapshot for each of at least two times, the first where the run starts."
        )
    if not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
        raise ValueError("`ts` must be finite and strictly increasing.")
    initial = snapshots[0] if initial is None else initial
    arrays = [a for a in jax.tree.leaves(initial) if eqx.is_inexact_array(a)]
    if not arrays:
        raise ValueError("`snapshots` hold no floats; give measures, one for each time.")
    dtype = jnp.result_type(*arrays)
    parameters = select(system, where, positive, bounds, dtype)
    if independent and not isinstance(loss, str):
        raise ValueError("`independent` belongs to named losses; build it into your `loss`.")
    if isinstance(loss, str):
        loss = named(loss, snapshots, kernel, epsilon, directions, independent, dtype)
    return Objective(parameters, loss, tuple(times.tolist()), initial, snapshots, key, dt, options)

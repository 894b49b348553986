"""What `minimize` returns."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._custom_types import Point

_MESSAGES = (
    "The run has not ended.",
    "The points are in consensus.",
    "The target energy is reached.",
    "No progress within `patience` steps.",
    "The budget of evaluations is spent.",
    "The points left the finite numbers; take a smaller `dt` or `sigma`, or give bounds.",
    "The time is over.",
)
_HOPELESS = "The objective is not finite at any point that was tried."


class Minima(NamedTuple):
    """Several minima, best first: places `x`, their values `fun`, and their basins.

    `basin` holds for each point of the population the number of its minimum, −1 for none; `share`
    is the fraction of the points that each minimum holds.

    !!! example

        `fm.minimize(f, bounds=box, key=key, method="polarized").minima.x`
    """

    x: PyTree
    fun: Float[np.ndarray, " k"]
    share: Float[np.ndarray, " k"]
    basin: Int[np.ndarray, " n"]


class Front(NamedTuple):
    """The places of a Pareto front and their values, one row each.

    !!! example

        ```python
        fm.minimize(
            lambda x: jnp.stack([f(x), f(x - 1)]), bounds=box, key=key, method="pareto"
        ).front.x
        ```
    """

    x: PyTree
    fun: Float[np.ndarray, "k m"]


class OptimizeResult(eqx.Module):
    """What `minimize` returns; under `vmap` every array has the runs' axis in front.

    - `x`: the best point found; `fun`: its value. For a saddle the pair that both populations agree
      on; for several objectives the best place of every point and its values, one row each.
    - `nfev`, `nit`: evaluations of the objective and steps.
    - `success`: whether the points agreed, the target was met or progress ended, all at a finite
      value; false when the budget was spent first. It doesn't say that the minimum is global.
    - `status`: 1 consensus, 2 target, 3 no progress, 4 budget, 5 not finite, 6 time; `message` in
      words.
    - `spread`: the root mean square distance to the consensus at the end.
    - `constr_violation`: by how much the constraints are missed at `x`; 0 without any.
    - `population`, `population_energies`: where the points ended, and the values there.
    - `history`: what `observe` asked for, one entry a step, NaN (0 for integers) after the last.

    !!! example

        `fm.minimize(f, bounds=box, key=key).message`
    """

    x: Point
    fun: Float[Array, "..."]
    nfev: Int[Array, "..."]
    nit: Int[Array, "..."]
    success: Bool[Array, "..."]
    status: Int[Array, "..."]
    spread: Float[Array, "..."]
    history: PyTree
    constr_violation: Float[Array, "..."]
    population: PyTree
    population_energies: Float[Array, "..."]
    radius: Float[Array, "..."]

    @property
    def message(self) -> str | list[str]:
        """How the run ended, one sentence for each run."""
        if isinstance(self.status, Tracer):
            raise ValueError("`message` is text; read it outside of jit and vmap.")
        codes = np.asarray(self.status)
        lost = np.asarray(self.fun) == np.inf
        lost = lost.reshape(*codes.shape, -1).all(-1).ravel()
        texts = [
            _HOPELESS if code == 5 and none else _MESSAGES[code]
            for code, none in zip(codes.ravel(), lost, strict=True)
        ]
        return texts[0] if codes.ndim == 0 else texts

    @property
    def minima(self) -> Minima:
        """The minima that a polarised run found: its points, merged within `radius`.

        From the best point on, all within `radius` of a minimum belong to it. Those that hold
        fewer than 1% of the points, or a tenth of the largest's, are stragglers, and left out. A
        group that was left on a plateau may still be among them: look at `fun`.
        """
        if isinstance(self.status, Tracer) or np.ndim(self.status):
            raise ValueError("`minima` are read off one run, outside of jit and vmap.")
        if np.ndim(self.fun):
            raise ValueError("`minima` are of one objective; several have a `front`.")
        leaves = [np.asarray(a) for a in jax.tree.leaves(self.population)]
        rows = np.concatenate([a.reshape(a.shape[0], -1) for a in leaves], axis=1)
        energies = np.asarray(self.population_energies)[: rows.shape[0]]
        basin, seeds, radius = np.full(rows.shape[0], -1), [], float(self.radius)
        for i in np.argsort(energies, kind="stable"):
            if basin[i] == -1 and energies[i] < np.inf:
                near = np.linalg.norm(rows - rows[i], axis=1) <= radius
                basin[near & (basin == -1)] = i
                seeds.append(i)
        sizes = [np.mean(basin == i) for i in seeds]
        least = max(0.01, 0.1 * max(sizes, default=0))
        held = [i for i, size in zip(seeds, sizes, strict=True) if size >= least]
        number = {seed: k for k, seed in enumerate(held)}
        basin = np.array([number.get(i, -1) for i in basin], int)
        share = np.array([np.mean(basin == k) for k in range(len(held))])
        x = jax.tree.map(lambda a: np.asarray(a)[held], self.population)
        return Minima(x, energies[held], share, basin)

    @property
    def front(self) -> Front:
        """The Pareto front that was found: what no other found point is better than in all."""
        values = np.asarray(self.fun)
        if isinstance(self.status, Tracer) or values.ndim != 2:
            raise ValueError("`front` is read off one run with several objectives, outside of jit.")
        at_most = np.all(values[:, None] >= values[None], axis=-1)
        less = np.any(values[:, None] > values[None], axis=-1)
        keep = ~np.any(at_most & less, axis=1) & np.all(np.isfinite(values), axis=1)
        return Front(jax.tree.map(lambda a: np.asarray(a)[keep], self.x), values[keep])


def finished(status: Any, fun: Any) -> Bool[Array, "..."]:
    """Whether a run ended as it was asked to."""
    finite = jax.numpy.all(jax.numpy.isfinite(fun))
    return (status >= 1) & (status <= 3) & finite

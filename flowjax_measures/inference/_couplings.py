r"""Couplings between snapshots of particles that are not followed ([schiebinger2019]).

    π^k = argmin ∫ ‖x − y‖² dπ + ε KL(π | α^k⊗μ_{k+1}) + λ KL(π₁ | α^k),   τ = λ/(λ + ε),
    α^k ∝ μ_k e^{g Δ_k},   Δ_k = t_{k+1} − t_k,

with growth rates g of the particles. Without entropy, plans are exact and growth is left out. What
a particle does is read from where the plan sends it in the mean, x̄(x) = ∫ y π(dy | x):

    at the start of an interval  (x̄(x) − x)/Δ,      at its end  (y − x̄(y))/Δ.

An entropic plan sends points towards the mean of all: at the start this adds a contraction of rate
about ε/(4Δσ²) to a population of variance σ², at the end it takes as much away. The difference to
the plan of a snapshot with itself, x̄_{μν}(x) − x̄_{μμ}(x), has neither in first order.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._custom_types import FloatScalar
from .._numerics import checked
from ..energies._ground import located
from ..kernels._base import log_mass
from ..measures import AbstractMeasure, Particles
from ..measures._base import check_finite, replace
from ..spaces._product import is_flat
from ..transport import coupling, entropic_coupling
from ..transport._geodesics import along, between, geodesic_space, kept_space


class Couplings(NamedTuple):
    """What `couple` returns.

    - `ts`, `snapshots`: the data.
    - `plans`: π^k, masses of shape (n_k, n_{k+1}).
    - `growth`: the rates at which particles grow in each interval, log(π₁/μ)/Δ.
    - `selves`: plans of the snapshots with themselves, where entropic plans are to be debiased.

    !!! example

        `fm.couple([0.0, 1.0], [mu, nu]).plans`
    """

    ts: np.ndarray
    snapshots: list[AbstractMeasure]
    plans: list[Float[Array, "n m"]]
    growth: list[Float[Array, " n"]]
    selves: list[Float[Array, "n n"]] | None

    def transition(self, first: int, last: int) -> Float[Array, "n m"]:
        """Where particles of snapshot `first` are in snapshot `last`: rows of probabilities.

        Its columns, normalised, are the ancestors of a particle. A particle without mass goes where
        the population goes.
        """
        if not 0 <= first < last < len(self.snapshots):
            raise ValueError(f"`first`, `last` are {first}, {last}; give two snapshots in order.")
        found = jnp.eye(len(self.plans[first]))
        for plan in self.plans[first:last]:
            found = found @ _rows(plan)
        return found

    def velocities(self, at: Literal["start", "end"] = "start") -> list[Float[Array, "n d"]]:
        """Velocities of particles in each interval, at the snapshot that starts or ends it."""
        if at not in ("start", "end"):
            raise ValueError(f'`at` is {at!r}; it is "start" or "end" of an interval.')
        found = []
        for k, plan in enumerate(self.plans):
            here, there = self.snapshots[k], self.snapshots[k + 1]
            if at == "end":
                plan, here, there = plan.T, there, here
            move = _mean_move(plan, here, there)
            if self.selves is not None:
                move = move - _mean_move(self.selves[k + (at == "end")], here, here)
            move = move / (self.ts[k + 1] - self.ts[k])
            found.append(move if at == "start" else -move)
        return found

    def interpolate(self, t: FloatScalar) -> Particles:
        """The population at a time between: particles on the segments of their plan."""
        t = float(t)
        if not self.ts[0] <= t <= self.ts[-1]:
            raise ValueError(f"`t` is {t}; it is between {self.ts[0]} and {self.ts[-1]}.")
        k = min(int(np.searchsorted(self.ts, t, side="right")) - 1, len(self.plans) - 1)
        share = (t - self.ts[k]) / (self.ts[k + 1] - self.ts[k])
        mu, nu = self.snapshots[k : k + 2]
        space = geodesic_space(mu, nu)
        mass = self.plans[k] / jnp.sum(self.plans[k])
        move = lambda x, y: between(space, x, y, share)  # noqa: E731
        return along(_normalised(mu), _normalised(nu), mass, move)


@checked
def couple(
    ts: ArrayLike | Sequence[float],
    snapshots: Sequence[AbstractMeasure],
    *,
    epsilon: FloatScalar | None = None,
    growth: Sequence[ArrayLike] | None = None,
    tau: FloatScalar = 1.0,
    debias: bool = False,
) -> Couplings:
    r"""Optimal plans between each snapshot and the next.

    **Arguments:**

    - `ts`, `snapshots`: the times, and measures on one space, whose distances and geodesics count.
    - `epsilon`: the entropy ε in units of ‖x − y‖²; `None` is exact transport, of some hundreds of
      particles.
    - `growth`: prior growth rates g of the particles, an array for each interval; with `tau` < 1
      plans correct them. Needs `epsilon`.
    - `tau`: 1 keeps the masses that `growth` gives; less lets particles grow otherwise.
    - `debias`: whether `velocities` leave out what an entropic plan does to a snapshot that does
      not move.

    **Raises:** `ValueError` that names the argument.

    !!! example

        `fm.couple(ts, cells, epsilon=0.05, tau=0.9).growth`
    """
    ts, snapshots = np.asarray(ts, np.float64), list(snapshots)
    if ts.shape != (len(snapshots),) or len(ts) < 2 or np.any(np.diff(ts) <= 0):
        raise ValueError(
            f"`ts` has shape {ts.shape} for {len(snapshots)} snapshots; give increasing times, one "
            "for each."
        )
    if epsilon is None and (growth is not None or tau != 1 or debias):
        raise ValueError(
            "`epsilon` is None: `growth`, `tau` and `debias` belong to entropic plans."
        )
    if growth is not None and len(growth) != len(ts) - 1:
        raise ValueError(f"`growth` has {len(growth)} entries; give one for each interval.")
    check_finite(snapshots, "snapshots")
    plans, rates = [], []
    for k, span in enumerate(np.diff(ts)):
        here, there = (_normalised(mu) for mu in snapshots[k : k + 2])
        grown = here
        if growth is not None:
            factors = span * jnp.asarray(growth[k])
            grown = _normalised(replace(here, log_w=here.log_weights() + factors))
        if epsilon is None:
            plan = coupling(here, there)
        else:
            plan = entropic_coupling(grown, there, epsilon, tau_mu=float(tau))
        plans.append(plan)
        before, after = here.log_weights(), jnp.log(jnp.sum(plan, axis=1))
        nothing = jnp.isneginf(before)
        rates.append(jnp.where(nothing, 0, after - jnp.where(nothing, 0, before)) / span)
    selves = None
    if debias and epsilon is not None:
        selves = [entropic_coupling(mu, mu, epsilon) for mu in map(_normalised, snapshots)]
    return Couplings(ts, snapshots, plans, rates, selves)


def _normalised(mu: AbstractMeasure) -> Particles:
    x, log_w = mu.atoms()
    return Particles(x, log_w - log_mass(mu), space=kept_space(mu, mu))


def _mean_move(plan: Array, here: AbstractMeasure, there: AbstractMeasure) -> Float[Array, "n d"]:
    """∫ log_x(y) π(dy | x) of each atom x: y − x in flat space; 0 for one without mass."""
    space: Any = geodesic_space(here, there)
    (x, _), (y, _) = located(here, space), located(there, space)
    if is_flat(space):
        moved = _rows(plan) @ y - x
    else:
        steps = jax.vmap(lambda p: jax.vmap(lambda q: space.logarithm(p, q))(y))(x)
        moved = jnp.sum(_rows(plan)[:, :, None] * steps, axis=1)
    return jnp.where(jnp.sum(plan, axis=1, keepdims=True) == 0, 0, moved)


def _rows(plan: Array) -> Array:
    """Rows of probabilities; a particle without mass goes where all go."""
    total = jnp.sum(plan, axis=1, keepdims=True)
    return jnp.where(total > 0, plan / jnp.where(total > 0, total, 1), jnp.sum(plan, axis=0))

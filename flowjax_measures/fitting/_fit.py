r"""`fit`: parameters of a system from observed measures, through its simulation.

    min_θ (1/T) Σ_k ℓ(μ_θ(t_k), ν_k),   μ_θ(t_0) given, μ_θ the run of the system with parameters θ.

Gradients go through the run. Noise is drawn once: every step of the optimiser sees the same
Brownian paths, so that the loss is one function of θ and not a different one each time.
"""

import functools
import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float

from .._custom_types import Count, PRNGKey
from .._numerics import checked
from .._system import AbstractSystem
from ._asked import Comparison, Fitted, Limits, Runs
from ._descent import Optax, descend, spread_out
from ._losses import WITHOUT_RUN
from ._newton import Newton
from ._objective import value_and_gradient
from ._pose import pose
from ._spectrum import Spectrum, describe, spectrum, standard_errors

# So many numbers have their Hessian computed: each costs two gradients.
_FEW = 30
_CONVERGED = 1e-2


class FitResult(eqx.Module):
    """What `fit` returns.

    - `system`: the system with the best parameters seen.
    - `losses`: the loss before each step of the optimiser.
    - `converged`: whether the gradient at the best parameters is at most 1% of the largest seen, or
      a named distance at most 1e-4 of the first.
    - `message`: how the fit ended, and which directions the data do not identify.
    - `spectrum`: eigenvalues, in increasing order, of the Hessian of the loss in log-parameters at
      the best; of arrays, in entries relative to their root mean square. `None` beyond 30 numbers.
      The energy distance is smoothed for it: ‖z‖ becomes √(‖z‖² + η²), η 5% of the data's width.
    - `directions`: the eigenvectors, one a column, in the order of `names`.
    - `names`: one name for each number that was fitted.
    - `errors`: standard errors in the coordinates of `spectrum`, of a number relative to itself, by
      Laplace's approximation where the loss is a likelihood ("increments" of a system with noise,
      "summaries") and by Gauss and Newton's for "trajectory"; infinite where data say nothing.
      `None` for distances, whose curvature is not information: refit simulated data there.

    !!! example

        ```python
        fm.fit(
            fm.SelfAttention(beta=1.0),
            ([0.0, 0.5], [tokens, tokens]),
            where=lambda s: s.beta,
            dt=0.25,
            steps=3,
        )
        ```
    """

    system: AbstractSystem
    losses: Float[Array, " steps"]
    converged: bool
    message: str
    spectrum: Float[Array, " p"] | None
    directions: Float[Array, "p p"] | None
    names: list[str]
    errors: Float[Array, " p"] | None


@checked
def fit(
    system: AbstractSystem,
    data: tuple[ArrayLike | Sequence[float], Sequence[Any]],
    *,
    loss: str | Callable[[Any, Any], Any] = "energy_distance",
    optimizer: optax.GradientTransformation | None = None,
    where: Callable[[Any], Any] | None = None,
    steps: Count = 150,
    dt: float | None = None,
    key: PRNGKey | None = None,
    initial: Any = None,
    positive: bool | Callable[[Any], Any] = False,
    bounds: tuple[Any, Any] | None = None,
    symmetric: bool | Callable[[Any], Any] = False,
    learning_rate: float = 0.1,
    tolerance: float = 1e-9,
    patience: Count = 30,
    kernel: Callable | None = None,
    epsilon: float | None = None,
    directions: Float[Array, "k d"] | None = None,
    summaries: Callable[[Any], Array] | None = None,
    independent: bool = False,
    shooting: Count | None = None,
    batch: Count | None = None,
    pieces: Count | None = None,
    restarts: Count = 1,
    adjoint: str | diffrax.AbstractAdjoint | None = "auto",
    folder: str | os.PathLike | None = None,
    overwrite: bool = False,
    identifiability: bool = True,
    progress: bool = False,
    **options: Any,
) -> FitResult:
    r"""Fits float fields of a system to measures observed at times.

    The run starts at `ts[0]` from `snapshots[0]` and is compared with the others at theirs. The
    default loss and `"sinkhorn"`, `"mmd"`, `"sliced"`, `"moments"` need no identities of
    particles; their numbers are free to differ. Noise of the system is drawn once from `key`, the
    same at each step. Where each snapshot is of a population of its own, a run of one population
    has sampling noise and a bias of its own: give several as `initial`, and take
    `loss="summaries"`, which weighs what it sees by its noise.

    **Arguments:**

    - `system`: the start; Python floats are turned into arrays.
    - `data`: `(ts, snapshots)`, increasing times and a measure (or dict of measures) for each.
    - `loss`: `"energy_distance"`, `"sinkhorn"`, `"mmd"`, `"sliced"`, `"moments"` (means and
      covariances), `"summaries"` (likelihood of summaries, of several `initial` populations),
      `"trajectory"` (mean squared displacement, particle by particle), or a function
      `loss(simulated, observed) -> scalar`. Averaged over times. Without a run: `"increments"`
      (likelihood of increments, with identities), `"jko"` (velocities of optimal plans at the ends
      of intervals, for systems without noise), `"self_test"` (weak form, for flows of an energy),
      which make good starts.
    - `optimizer`: an optax transformation, for example
      `optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))`. Default: Adam, b2 = 0.9,
      whose rate decays from `learning_rate` to 0 by a cosine over `steps`; Newton's method for
      likelihoods and losses without a run of at most 30 numbers, exact in one step where the
      drift is affine. From afar a distance leads to where a likelihood begins.
    - `where`: function from the system to the leaf, or a tuple of the leaves or modules, to fit;
      default every float.
    - `steps`: steps of the optimiser, at most.
    - `dt`, `key`, `**options`: as of `simulate`; also `solver`, `stepsize_controller`, `remat`,
      `max_steps`. A `dt` makes fits faster.
    - `initial`: a measure to start from in place of `snapshots[0]`, or a list of `Particles`: so
      many populations, as large as the observed ones, whose mixture is compared with the data.
    - `positive`: which fields are optimised in their logarithm: True for all fitted, or a function
      as `where`. A rate of 0.1 then is a change of 10% a step.
    - `bounds`: `(lower, upper)`, open, each a number or a sequence with an entry for each field of
      `where`; these fields are optimised in their logit.
    - `symmetric`: which fields are symmetric matrices; as `positive`.
    - `tolerance`, `patience`: stops early when the losses of the last `patience` steps lie within
      `tolerance` times the range of all; 0 never stops.
    - `kernel`: of `"mmd"`; default Gaussian of half the width of the data.
    - `epsilon`: of `"sinkhorn"`; default 5% of the mean squared distance of two points. Of `"jko"`
      the entropy of its plans; default none, for entropic plans change the drift.
    - `directions`: of `"sliced"`.
    - `summaries`: function of a measure to a vector; default means, covariances, a fourth moment
      and four pair correlations.
    - `independent`: whether the particles of a snapshot are independent. A particle's distance to
      itself then biases distances of clouds; True leaves it out, for `"energy_distance"` and
      `"mmd"`. Particles that interact are not: give several `initial` populations.
    - `shooting`: runs start again from the observed snapshots, and are of so many intervals; for
      long or chaotic data.
    - `batch`, `pieces`: how many particles of every snapshot, and with `shooting` how many runs,
      each step draws anew from `key`. The last step is then the result; drawn particles feel only
      each other.
    - `restarts`: runs the optimiser so often side by side, from `system` and from starts drawn
      around it, and keeps the best.
    - `adjoint`: "forward", "reverse", or "auto": forward for at most four numbers. Or a diffrax
      adjoint, as of `simulate`.
    - `folder`: where the fit is written every ten steps; the same call goes on from there, also
      with more `steps` where `optimizer` is given (the default's rate depends on them). Newton's
      method is short and takes none.
    - `overwrite`: whether to begin anew where `folder` holds a fit, this or another.
    - `identifiability`: whether to compute `spectrum`, two gradients for each number. A
      `UserWarning` names directions with less than 1e-6 of the largest curvature (3.5e-4 in
      float32, 1e-4 with adaptive steps).
    - `progress`: whether to show a bar with the loss.

    **Raises:** `ValueError` that names the argument.

    !!! example

        ```python
        result = fm.fit(
            fm.SelfAttention(beta=1.0), (ts, clouds), where=lambda s: s.beta, dt=0.1, positive=True
        )
        result.system.beta, result.converged, result.message
        ```
    """
    runs = Runs(key, dt, options, shooting, batch, pieces)
    objective = pose(
        system, data, initial, Fitted(where, positive, bounds, symmetric),
        Comparison(loss, kernel, epsilon, directions, summaries, independent), runs, adjoint,
    )  # fmt: skip
    if steps < 1 or restarts < 1:
        raise ValueError(f"`steps` is {steps}, `restarts` {restarts}; give at least one.")
    if optimizer is not None and not hasattr(optimizer, "update"):
        raise ValueError(
            f"`optimizer` is {optimizer!r}; give a transformation of optax, for example "
            "optax.adam(0.01)."
        )
    parameters = objective.parameters
    start = parameters.values()
    few = sum(theta.size for theta in start) <= _FEW
    free = spread_out(parameters, start, restarts, key)
    without_run = isinstance(loss, str) and loss in WITHOUT_RUN
    distance = not without_run and loss != "summaries"
    if optimizer is None and not distance and few and restarts == 1 and not runs.drawn:
        if folder is not None:
            raise ValueError(
                "`folder`: Newton's method takes a few steps, and writes nothing. Leave `folder` "
                "out, or give an `optimizer`."
            )
        search = Newton(objective)
    else:
        search = Optax(optimizer or _adam(float(learning_rate), steps), free)
    draws = jr.fold_in(_needed(key), 1) if runs.drawn else None
    limits = Limits(steps, tolerance, patience)
    found = descend(objective, search, free, limits, draws, folder, overwrite, progress)
    finite = math.isfinite(found.loss)
    converged = finite and found.slope <= _CONVERGED * found.steepest
    named = distance and isinstance(loss, str)
    if named and not independent and objective.populations == 1:
        converged |= found.loss <= _CONVERGED**2 * found.losses[0]
    if isinstance(search, Newton):
        converged = finite and search.solved()
    messages = [found.ended]
    if not converged:
        messages.append("The gradient has not vanished: take more `steps` or another rate.")
    flat = errors = None
    theta = parameters.constrained(found.best)
    if identifiability and few and finite:
        rounded = objective.without_cones()
        flat = spectrum(lambda u: value_and_gradient(rounded, u)[1], parameters, theta, start,
                        smooth=dt is not None or without_run)  # fmt: skip
        messages += _judge(flat, parameters.names(), found.losses[0], found.loss, distance)
        if isinstance(loss, str):
            errors = standard_errors(flat, objective.information(loss, found.loss))
    return FitResult(
        parameters.with_values(theta), jnp.asarray(found.losses, theta[0].dtype), bool(converged),
        " ".join(messages), None if flat is None else jnp.asarray(flat.values),
        None if flat is None else jnp.asarray(flat.vectors), parameters.names(), errors,
    )  # fmt: skip


def _needed(key: PRNGKey | None) -> PRNGKey:
    if key is None:
        raise ValueError("`key` is missing: `batch` and `pieces` draw. Give jax.random.key(0).")
    return key


@checked
def profile(
    system: AbstractSystem,
    data: tuple[ArrayLike | Sequence[float], Sequence[Any]],
    which: Callable[[Any], Any],
    values: ArrayLike | Sequence[float],
    **options: Any,
) -> Float[Array, " values"]:
    """The least loss with one number held, for each of its values: the profile of a fit.

    **Arguments:** `system`, `data` and `options` as of `fit`, whose `where` leaves that number out;
    `which`: function from the system to the number; `values`: what it is held at.

    !!! example

        `fm.profile(system, data, lambda s: s.beta, [3.0, 4.0, 5.0], where=lambda s: s.value)`
    """
    least = []
    for value in np.asarray(values, float):
        held = eqx.tree_at(which, system, float(value), is_leaf=lambda a: a is None)
        held = fit(held, data, identifiability=False, **options)
        least.append(np.nanmin(held.losses))
    return jnp.asarray(least)


@functools.lru_cache(maxsize=32)
def _adam(rate: float, steps: int) -> optax.GradientTransformation:
    # A full gradient has no noise to average away: a short memory of squares (0.9, not 0.999)
    # follows curved valleys, 0.3% where the usual one ends at 18%.
    return optax.adam(optax.cosine_decay_schedule(rate, steps), b2=0.9)


def _judge(found: Spectrum, names: list[str], first: float, last: float, run: bool) -> list[str]:
    # A likelihood has no zero: what remains of it is no measure of noise.
    gone, faint = describe(found, names, first if run else 0.0, last if run else 0.0)
    if gone:
        warnings.warn(gone, UserWarning, stacklevel=3)
    return [text for text in (gone, faint) if text]

r"""`fit`: parameters of a system from observed measures, through its simulation.

    min_θ (1/T) Σ_k ℓ(μ_θ(t_k), ν_k),   μ_θ(t_0) given, μ_θ the run of the system with parameters θ.

Gradients go through the run. Noise is drawn once: every step of the optimiser sees the same
Brownian paths, so that the loss is one function of θ and not a different one each time.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

from ._custom_types import PRNGKey
from ._fit_losses import Distance
from ._fit_newton import Newton
from ._fit_objective import pose, value_and_gradient
from ._fit_spectrum import Spectrum, describe, spectrum
from ._system import AbstractSystem

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
    """

    system: AbstractSystem
    losses: Float[Array, " steps"]
    converged: bool
    message: str
    spectrum: Float[Array, " p"] | None
    directions: Float[Array, "p p"] | None
    names: list[str]


def fit(
    system: AbstractSystem,
    data: tuple[ArrayLike | Sequence[float], Sequence[Any]],
    *,
    loss: str | Callable[[Any, Any], Any] = "energy_distance",
    optimizer: optax.GradientTransformation | None = None,
    where: Callable[[Any], Any] | None = None,
    steps: int = 150,
    dt: float | None = None,
    key: PRNGKey | None = None,
    initial: Any = None,
    positive: bool | Callable[[Any], Any] = False,
    bounds: tuple[Any, Any] | None = None,
    learning_rate: float = 0.1,
    tolerance: float = 1e-9,
    patience: int = 30,
    kernel: Callable | None = None,
    epsilon: float | None = None,
    directions: Float[Array, "k d"] | None = None,
    independent: bool = False,
    identifiability: bool = True,
    progress: bool = False,
    **options: Any,
) -> FitResult:
    r"""Fits float fields of a system to measures observed at times.

    The run starts at `ts[0]` from `snapshots[0]` and is compared with the others at theirs. The
    default loss and `"sinkhorn"`, `"mmd"`, `"sliced"`, `"moments"` need no identities of
    particles; their numbers are free to differ. What remains of the loss at the optimum is
    sampling noise where the snapshots are of different populations; compare it with the loss of
    two samples of one law. Noise of the system is drawn once from `key`, the same at each step.

    **Arguments:**

    - `system`: the start; Python floats are turned into arrays.
    - `data`: `(ts, snapshots)`, increasing times and a measure (or dict of measures) for each.
    - `loss`: `"energy_distance"`, `"sinkhorn"`, `"mmd"`, `"sliced"`, `"moments"` (means and
      covariances), `"trajectory"` (mean squared displacement, particle by particle),
      `"increments"` (likelihood of increments, without a run: snapshots with identities), or a
      function `loss(simulated, observed) -> scalar`. Averaged over times.
    - `optimizer`: an optax transformation, for example
      `optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))`. Default: Adam, b2 = 0.9,
      whose rate decays from `learning_rate` to 0 by a cosine over `steps`; Newton's method for
      `"increments"` with at most 30 numbers, exact in one step where the drift is affine.
    - `where`: function from the system to the leaf, or a tuple of the leaves or modules, to fit;
      default every float.
    - `steps`: steps of the optimiser, at most.
    - `dt`, `key`, `**options`: as of `simulate`; also `solver`, `stepsize_controller`, `adjoint`,
      `remat`, `max_steps`. A `dt` makes fits faster.
    - `initial`: a measure to start from in place of `snapshots[0]`.
    - `positive`: which fields are optimised in their logarithm: True for all fitted, or a function
      as `where`. A rate of 0.1 then is a change of 10% a step.
    - `bounds`: `(lower, upper)`, open, each a number or a sequence with an entry for each field of
      `where`; these fields are optimised in their logit.
    - `tolerance`, `patience`: stops early when the losses of the last `patience` steps lie within
      `tolerance` times the range of all; 0 never stops.
    - `kernel`: of `"mmd"`; default Gaussian of half the width of the data.
    - `epsilon`: of `"sinkhorn"`; default 5% of the mean squared distance of two points.
    - `directions`: of `"sliced"`.
    - `independent`: whether every snapshot is of a population of its own. A particle's distance to
      itself then biases all distances of clouds, in a weak direction systematically;
      True leaves it out, for `"energy_distance"` and `"mmd"`. Where the data are the very
      particles of the run, leave it False.
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
    objective = pose(system, data, initial, where, positive, bounds, loss, kernel, epsilon,
                           directions, independent, dt, key, options)  # fmt: skip
    if steps < 1:
        raise ValueError(f"`steps` is {steps}; give at least one.")
    parameters = objective.parameters
    start = parameters.values()
    few = sum(theta.size for theta in start) <= _FEW
    if optimizer is None and loss == "increments" and few:
        search = Newton(objective)
    else:
        search = _Optax(
            optimizer or _adam(learning_rate, steps),
            parameters.free(start),
        )
    free = parameters.free(start)
    losses, best, best_loss, steepest, slope = [], free, math.inf, 0.0, math.inf
    ended = f"All {steps} steps were taken."
    meter = _meter(steps, progress)
    for step in meter:
        value, gradient = value_and_gradient(objective, free)
        value = float(value)
        size = float(optax.tree.norm(gradient))
        losses.append(value)
        if progress:
            meter.set_postfix(loss=f"{value:.4g}")  # pyright: ignore
        if not (math.isfinite(value) and math.isfinite(size)):
            where_ = "at the start" if step == 0 else f"at step {step}; the best before is kept"
            ended = (
                f"The loss or its gradient is not finite {where_}. Take a smaller `dt` or rate, "
                "clip gradients, or give `bounds`."
            )
            break
        steepest = max(steepest, size)
        if value < best_loss:
            best, best_loss, slope = free, value, size
        if _stalls(losses, tolerance, patience):
            ended = f"The loss stopped falling at step {step}."
            break
        free = search.step(free, value, gradient)
        if isinstance(search, Newton) and search.solved():
            ended = f"Newton's method ended at step {step}."
            break
    converged = math.isfinite(best_loss) and slope <= _CONVERGED * steepest
    if isinstance(objective.loss, Distance) and loss != "increments" and not independent:
        converged |= best_loss <= _CONVERGED**2 * losses[0]
    if isinstance(search, Newton):
        converged = math.isfinite(best_loss) and search.solved()
    messages = [ended]
    if not converged:
        messages.append("The gradient has not vanished: take more `steps` or another rate.")
    found = None
    theta = parameters.constrained(best)
    if identifiability and few and math.isfinite(best_loss):
        smooth = objective.without_cones()
        found = spectrum(lambda u: value_and_gradient(smooth, u)[1], parameters, theta, start,
                         smooth=dt is not None or loss == "increments")  # fmt: skip
        messages += _judge(found, parameters.names(), losses[0], best_loss, loss != "increments")
    return FitResult(
        parameters.with_values(theta), jnp.asarray(losses), bool(converged), " ".join(messages),
        None if found is None else jnp.asarray(found.values),
        None if found is None else jnp.asarray(found.vectors), parameters.names(),
    )  # fmt: skip


def _adam(rate: float, steps: int) -> optax.GradientTransformation:
    # A full gradient has no noise to average away: a short memory of squares (0.9, not 0.999)
    # follows curved valleys, 0.3% where the usual one ends at 18%.
    return optax.adam(optax.cosine_decay_schedule(rate, steps), b2=0.9)


class _Optax:
    """Steps of an optax transformation, compiled once."""

    def __init__(self, optimizer: optax.GradientTransformation, free: list[Array]):
        self.state = optimizer.init(free)

        @jax.jit
        def update(free, gradient, state, value):
            extra = optax.with_extra_args_support(optimizer)
            # optax mixes dtypes of its own.
            with jax.numpy_dtype_promotion("standard"):
                move, state = extra.update(gradient, state, free, value=value)
                return optax.apply_updates(free, move), state

        self.update = update

    def step(self, free: list[Array], value: float, gradient: list[Array]) -> list[Array]:
        free, self.state = self.update(free, gradient, self.state, value)
        return free


def _stalls(losses: list[float], tolerance: float, patience: int) -> bool:
    if tolerance <= 0 or len(losses) <= patience:
        return False
    last = losses[-patience:]
    return max(last) - min(last) <= tolerance * (max(losses) - min(losses))


def _judge(found: Spectrum, names: list[str], first: float, last: float, run: bool) -> list[str]:
    # A likelihood has no zero: what remains of it is no measure of noise.
    gone, faint = describe(found, names, first if run else 0.0, last if run else 0.0)
    if gone:
        warnings.warn(gone, UserWarning, stacklevel=3)
    return [text for text in (gone, faint) if text]


def _meter(steps: int, progress: bool):
    if not progress:
        return range(steps)
    import tqdm

    return tqdm.tqdm(range(steps), desc="fit")

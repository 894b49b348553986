"""The loop of a fit: steps of an optimiser, restarts side by side, and files to go on from."""

import contextlib
import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array

from .._custom_types import PRNGKey
from .._numerics import collector_paused, jitted
from ..inference._parameters import Parameters
from ..storage._folder import claimed
from ..storage.checkpoint import environment
from ._asked import Limits
from ._newton import Newton
from ._objective import Objective, value_and_gradient
from ._store import Store

# A file is written after so many steps.
_EVERY = 10


class Descent(NamedTuple):
    """Where a descent ended: the best of all restarts, its losses, and why it ended."""

    best: list[Array]
    loss: float
    losses: np.ndarray
    slope: float
    steepest: float
    ended: str


def spread_out(parameters: Parameters, start: list[Array], restarts: int, key: PRNGKey | None):
    """Unconstrained starts, stacked: the given one and others at a distance of about one."""
    free = parameters.free(start)
    if restarts == 1:
        return jax.tree.map(lambda u: u[None], free)
    if key is None:
        raise ValueError("`key` is missing: `restarts` draw other starts. Give jax.random.key(0).")

    def others(i, u):
        # Logarithms and logits have a unit of their own; other numbers have their size.
        own = parameters.positive[i] or parameters.bounded[i]
        size = jnp.sqrt(jnp.mean(u**2))
        scale = jnp.where(own | (size == 0), 1, size)
        draws = jr.normal(jr.fold_in(key, 1000 + i), (restarts, *u.shape), u.dtype)
        return u + scale.astype(u.dtype) * draws.at[0].set(0)

    return [others(i, u) for i, u in enumerate(free)]


@functools.lru_cache(maxsize=32)
def _programs(optimizer: optax.GradientTransformation) -> tuple[Callable, Callable]:
    """The start and the step of an optimizer on stacked variables, for all fits that take it."""
    extra = optax.with_extra_args_support(optimizer)

    def one(free, gradient, state, value):
        # optax mixes dtypes of its own.
        with jax.numpy_dtype_promotion("standard"):
            move, state = extra.update(gradient, state, free, value=value)
            return optax.apply_updates(free, move), state

    return jax.jit(jax.vmap(optimizer.init)), jax.jit(jax.vmap(one))


class Optax:
    """Steps of an optax transformation on stacked variables, compiled once."""

    def __init__(self, optimizer: optax.GradientTransformation, free: list[Array]):
        init, self.update = _programs(optimizer)
        self.state = init(free)

    def text(self, free: list[Array]) -> tuple[str, Any]:
        """The program of an update and the state that it starts from."""
        values = jnp.zeros(free[0].shape[0], free[0].dtype)
        return self.update.lower(free, free, self.state, values).as_text(), self.state

    def step(self, free: list[Array], values: np.ndarray, gradient: list[Array]) -> list[Array]:
        free, self.state = self.update(free, gradient, self.state, jnp.asarray(values))
        return free


def descend(
    objective: Objective,
    search: Optax | Newton,
    free: list[Array],
    limits: Limits,
    draws: PRNGKey | None,
    folder: str | os.PathLike | None,
    overwrite: bool,
    progress: bool,
) -> Descent:
    """Steps until the losses stall, are not finite, or all are taken."""
    steps, tolerance, patience = limits
    runs = free[0].shape[0]
    evaluate = value_and_gradient if runs == 1 else _together
    losses = np.full((steps, runs), np.nan)
    best, best_loss = free, np.full(runs, np.inf)
    slope, steepest = np.full(runs, np.inf), np.zeros(runs)
    first, ended = 0, f"All {steps} steps were taken."
    store = None
    if folder is not None and isinstance(search, Optax):
        config = {
            # Programs hold what functions do, and constants that they close over.
            "loss, law or data": _text(evaluate, objective, _of(free, runs), _at(draws, 0)),
            "optimizer": search.text(free), "start": (objective, free), "key": draws,
            "environment": environment(),
        }  # fmt: skip
        store = Store(Path(folder), "fit", config).emptied(overwrite)
        carry = free, search.state, best, best_loss, slope, steepest
        first, carry, before = store.read(carry, lambda step: np.zeros((step, runs)))
        free, search.state, best, best_loss, slope, steepest = carry
        if first > steps:
            raise ValueError(
                f"`steps` is {steps}, but the fit in {folder} has taken {first}; give at least as "
                "many, another `folder`, or `overwrite=True`."
            )
        losses[:first] = before
    meter = _meter(first, steps, progress)
    step = first
    with contextlib.nullcontext() if store is None or first == steps else claimed(store.folder):
        for step in meter:
            with collector_paused():  # The first compiles.
                value, gradient = evaluate(objective, _of(free, runs), _at(draws, step))
            values = np.asarray(value).reshape(runs)
            if runs == 1:
                gradient = jax.tree.map(lambda g: g[None], gradient)
            sizes = np.sqrt(sum(np.sum(np.asarray(g).reshape(runs, -1) ** 2, 1) for g in gradient))
            losses[step] = values
            if progress:
                meter.set_postfix(loss=f"{np.nanmin(values):.4g}")  # pyright: ignore
            fine = np.isfinite(values) & np.isfinite(sizes)
            if not fine.any():
                place = "at the start" if step == 0 else f"at step {step}; the best before is kept"
                ended = (
                    f"The loss or its gradient is not finite {place}. Take a smaller `dt` or rate, "
                    "clip gradients, or give `bounds`."
                )
                break
            steepest = np.where(fine, np.maximum(steepest, sizes), steepest)
            # Losses of drawn particles do not compare: there the last is the best.
            better = fine & ((values < best_loss) | (draws is not None))
            if better.all():
                best = free
            elif better.any():
                best = [jnp.where(_along(better, u), u, b) for b, u in zip(best, free, strict=True)]
            best_loss, slope = np.where(better, values, best_loss), np.where(better, sizes, slope)
            if all(_stalls(losses[: step + 1, i], tolerance, patience) for i in range(runs)):
                ended = f"The loss stopped falling at step {step}."
                break
            free = search.step(free, values, gradient)
            if isinstance(search, Newton) and search.solved():
                ended = f"Newton's method ended at step {step}."
                break
            if store is not None and isinstance(search, Optax) and (step + 1) % _EVERY == 0:
                carry = free, search.state, best, best_loss, slope, steepest
                store.write(step + 1, carry, losses[: step + 1])
    i = int(np.argmin(best_loss))
    return Descent(
        [u[i] for u in best], float(best_loss[i]), losses[: step + 1, i], float(slope[i]),
        float(steepest[i]), ended,
    )  # fmt: skip


def _text(function: Any, *arguments: Any) -> str:
    return function.lower(*arguments).as_text()


def _of(free: list[Array], runs: int) -> list[Array]:
    return [u[0] for u in free] if runs == 1 else free


def _at(draws: PRNGKey | None, step: int) -> PRNGKey | None:
    return None if draws is None else jr.fold_in(draws, step)


@jitted
def _together(objective: Objective, free: list[Array], draw: PRNGKey | None):
    return jax.vmap(lambda u: value_and_gradient(objective, u, draw))(free)


def _along(mask: np.ndarray, like: Array) -> Array:
    return jnp.asarray(mask).reshape(-1, *[1] * (like.ndim - 1))


def _stalls(losses: np.ndarray, tolerance: float, patience: int) -> bool:
    if tolerance <= 0 or len(losses) <= patience:
        return False
    last = losses[-patience:]
    if not math.isfinite(last[-1]):
        return True
    return bool(np.ptp(last) <= tolerance * np.ptp(losses[np.isfinite(losses)]))


def _meter(first: int, steps: int, progress: bool):
    if not progress:
        return range(first, steps)
    import tqdm

    steps_left = range(first, steps)
    return tqdm.tqdm(steps_left, desc="fit", initial=first, total=steps, postfix="compiling")

"""The loop of `learn`: steps of an optimiser in one compiled loop, with a look between pieces."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from .._custom_types import FloatScalar, PRNGKey
from .._numerics import jitted
from ..storage.checkpoint import environment
from ._store import Store


class Weights(NamedTuple):
    """What steps change: the network's arrays, the optimiser's state, the moving average."""

    network: PyTree
    optimizer: PyTree
    average: PyTree


class Course(NamedTuple):
    """Where training stands: what a file holds, so that it goes on from there bit for bit."""

    step: int
    weights: Weights
    losses: np.ndarray
    validation: np.ndarray
    best: PyTree


class Trainer:
    """Steps of an optimiser on the arrays of a network, compiled once for any number of them."""

    def __init__(
        self,
        loss: Callable[[Any, PRNGKey], FloatScalar],
        network: PyTree,
        optimizer: optax.GradientTransformation,
        average: float,
        key: PRNGKey,
    ):
        arrays, self.rest = eqx.partition(network, eqx.is_inexact_array)
        # Python numbers in an optimiser's state would be compiled in.
        start = jax.tree.map(jnp.asarray, optimizer.init(arrays))
        self.start, self.key, self.average = Weights(arrays, start, arrays), key, average
        extra = optax.with_extra_args_support(optimizer)

        def objective(arrays, key):
            return _scalar(loss(eqx.combine(arrays, self.rest), key))

        def update(slope, state, arrays, value):
            # optax mixes dtypes of its own.
            with jax.numpy_dtype_promotion("standard"):
                move, state = extra.update(slope, state, arrays, value=value)
                return optax.apply_updates(arrays, move), state

        def step(weights: Weights, k: Int[Array, ""], key: PRNGKey):
            value, slope = jax.value_and_grad(objective)(weights.network, key)
            moved, state = update(slope, weights.optimizer, weights.network, value)
            with jax.numpy_dtype_promotion("standard"):
                # A short memory at first, or the start would be remembered for 1/(1 − average).
                fresh = jnp.maximum(1 - average, 9 / (10 + k.astype(float)))
                mean = jax.tree.map(
                    lambda a, u: a + (fresh * (u - a)).astype(a.dtype), weights.average, moved
                )
            return Weights(moved, state, mean), value

        self._step, self._update, self._objective = step, update, objective
        first = jnp.zeros((), jnp.int32)
        self.dtype = jax.eval_shape(step, self.start, first, key)[1].dtype
        # What the loss closes over, its data, becomes an argument of the compiled program.
        self._closed = eqx.filter_closure_convert(step, self.start, first, key)

    def advance(self, weights: Weights, first: int, last: int, size: int):
        """Steps `first` to `last`, at most `size`; they end after a loss that is not finite."""
        bounds = jnp.asarray(first, jnp.int32), jnp.asarray(last, jnp.int32)
        return _advance(self._closed, weights, *bounds, self.key, size, self.dtype)

    def network(self, arrays: PyTree) -> PyTree:
        """The network with these arrays."""
        return eqx.combine(arrays, self.rest)

    def identity(self) -> dict[str, Any]:
        """What training is, by parts: programs hold what functions do, beside their data."""
        arrays, state, value = self.start.network, self.start.optimizer, jnp.zeros((), self.dtype)
        return {
            "loss or data": _program(jax.value_and_grad(self._objective), arrays, self.key),
            "optimizer": (_program(self._update, arrays, state, arrays, value), state),
            "network": arrays, "average": self.average, "key": self.key,
            "environment": environment(),
        }  # fmt: skip


def _program(function: Callable, *arguments: Any) -> tuple[str, Any]:
    closed = jax.make_jaxpr(function)(*arguments)
    return re.sub(r" at 0x[0-9a-f]+", "", str(closed.jaxpr)), closed.consts


@jitted
def _advance(step, weights, first, last, key, size, dtype):
    def more(carry):
        k, _, _, fine = carry
        return (k < last) & fine

    def body(carry):
        k, weights, losses, _ = carry
        weights, value = step(weights, k, jr.fold_in(key, k))
        return k + 1, weights, losses.at[k - first].set(value), jnp.isfinite(value)

    losses = jnp.full(size, jnp.nan, dtype)
    k, weights, losses, _ = jax.lax.while_loop(
        more, body, (first, weights, losses, jnp.asarray(True))
    )
    return k, weights, losses


def train(
    trainer: Trainer,
    steps: int,
    every: int,
    validation: Callable[[Any], FloatScalar] | None,
    patience: int | None,
    store: Store | None,
    progress: bool,
) -> tuple[Course, str, bool]:
    """Trains to the end; returns where it stands, how it ended and whether all was finite."""
    looks = -(-steps // every)
    course = Course(
        0, trainer.start, np.full(steps, np.nan, trainer.dtype), np.full(looks, np.nan),
        trainer.start.average,
    )  # fmt: skip
    if store is not None:
        course = _resumed(store, course, every)
    judge = None if validation is None else eqx.filter_jit(validation)
    meter = _meter(course.step, steps, progress)
    ended, fine = f"All {steps} steps were taken.", True
    while course.step < steps:
        if patience is not None and _stalls(course, every, patience):
            ended = f"No better value of `validation` in {patience} looks, at step {course.step}."
            break
        course, fine = _piece(trainer, course, min(course.step + every, steps), every)
        if not fine:
            ended = f"The loss or its gradient is not finite at step {course.step}."
            break
        if judge is not None:
            course = _judged(trainer, course, judge, every)
        if store is not None and course.step % every == 0:
            # A shorter last piece is taken again: where there are more steps it is a longer one.
            done, seen = course.step, course.step // every
            carry = course.weights, course.best
            store.write(done, carry, (course.losses[:done], course.validation[:seen]))
        if meter is not None:
            meter.update(course.step - meter.n)
            recent = course.losses[max(course.step - every, 0) : course.step]
            meter.set_postfix(loss=f"{np.mean(recent):.4g}")
    if meter is not None:
        meter.close()
    return course, ended, fine


def _piece(trainer: Trainer, course: Course, last: int, every: int) -> tuple[Course, bool]:
    first, before = course.step, course.weights
    k, weights, losses = trainer.advance(before, first, last, every)
    k = int(k)
    course.losses[first:k] = np.asarray(losses)[: k - first]
    if np.isfinite(course.losses[k - 1]) and _finite(weights.network):
        return course._replace(step=k, weights=weights), True
    # The same steps again up to the last state that is finite; the loss that isn't is kept.
    k = k - 1
    weights = trainer.advance(before, first, k, every)[1] if k > first else before
    if not _finite(weights.network) and k > first:
        k = k - 1
        weights = trainer.advance(before, first, k, every)[1] if k > first else before
    return course._replace(step=k, weights=weights), False


def _judged(trainer: Trainer, course: Course, judge: Callable, every: int) -> Course:
    look = -(-course.step // every) - 1
    value = float(_scalar(judge(trainer.network(course.weights.average)), "validation"))
    better = value < np.nanmin(np.append(course.validation[:look], np.inf))
    course.validation[look] = value
    return course._replace(best=course.weights.average if better else course.best)


def _stalls(course: Course, every: int, patience: int) -> bool:
    seen = course.validation[: -(-course.step // every)]
    seen = np.where(np.isfinite(seen), seen, np.inf)
    return len(seen) > patience and len(seen) - 1 - int(np.argmin(seen)) >= patience


def _resumed(store: Store, course: Course, every: int) -> Course:
    like = lambda k: (  # noqa: E731
        np.zeros(k, course.losses.dtype), np.zeros(k // every, course.validation.dtype)
    )  # fmt: skip
    step, (weights, best), records = store.read((course.weights, course.best), like)
    if step > course.losses.size:
        raise ValueError(
            f"`steps` is {course.losses.size}, but the training in {store.folder} has taken "
            f"{step}; give at least as many, another `folder`, or `overwrite=True`."
        )
    for whole, part in zip((course.losses, course.validation), records, strict=True):
        whole[: part.size] = part
    return course._replace(step=step, weights=weights, best=best)


def _finite(tree: PyTree) -> bool:
    return all(bool(jnp.all(jnp.isfinite(a))) for a in jax.tree.leaves(tree))


def _scalar(value: Any, name: str = "loss") -> Float[Array, ""]:
    value = jnp.asarray(value)
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(
            f"`{name}` returned {value.dtype}{list(value.shape)}; return one real number, such as "
            "the mean over a batch."
        )
    return value


def _meter(first: int, steps: int, progress: bool) -> Any:
    if not progress:
        return None
    import tqdm

    return tqdm.tqdm(desc="learn", initial=first, total=steps, postfix="compiling")

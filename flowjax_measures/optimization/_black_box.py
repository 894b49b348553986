"""Objectives that cannot be traced: any function in Python, called on the host.

A batch of places is evaluated at once, point by point, or by the workers of a pool. A point where
the function fails is forbidden, as one where it is NaN.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from ..storage.checkpoint import load, save

_UNTRACEABLE = (
    jax.errors.TracerArrayConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerIntegerConversionError,
)


def traced_shape(
    objective: Callable[..., Any], places: tuple, traced: bool
) -> jax.ShapeDtypeStruct | None:
    """The shape of the objective's value, `None` where it cannot be traced.

    A function that fails for another reason is tried on numbers: if it works there, it is one that
    JAX must not see. Where `places` are `traced` there are no numbers.
    """
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), places)
    try:
        value = jax.eval_shape(objective, *like)
    except _UNTRACEABLE:
        return None
    except Exception:
        if traced:
            raise
        try:
            np.asarray(objective(*jax.tree.map(np.array, places)), float)
        except Exception:
            value = None
        else:
            return None
        raise
    if not isinstance(value, jax.ShapeDtypeStruct):
        raise ValueError(
            f"`objective` returned {jax.tree.structure(value)}; it must return one number for a "
            "point."
        )
    return value


class Host:
    """Evaluates places on the host; see `minimize` for the arguments."""

    def __init__(self, objective, spread: bool, vectorized: bool, workers: Any, images: int | None):
        self.objective, self.vectorized, self.images = objective, vectorized, images
        self.call = (lambda place: objective(*place)) if spread else objective
        self.spread = spread
        many = isinstance(workers, int) and workers > 1
        self.own = ThreadPoolExecutor(workers) if many else None
        self.workers = self.own or workers
        self.seen = False

    def close(self):
        if self.own is not None:
            self.own.shutdown()

    def __call__(self, places: PyTree, stored: "Stored | None" = None) -> np.ndarray:
        """The values, one row for each place."""
        places = jax.tree.map(np.array, places)
        size = jax.tree.leaves(places)[0].shape[0]
        shape = (size,) if self.images is None else (size, self.images)
        blank = np.zeros(size, bool), np.full(shape, np.nan)
        done, values = blank if stored is None else stored.read(shape)
        if self.vectorized:
            if done.all():
                return values
            return _numbers(self.call(places), shape, "the values of all points")
        left = np.flatnonzero(~done)
        if isinstance(places, np.ndarray):
            rows = list(places[left])
        else:
            rows = [jax.tree.map(lambda a, i=i: a[i], places) for i in left]
        failure = None
        for i, found in zip(left, self._each(rows), strict=True):
            if isinstance(found, Exception):
                failure = failure or found
            else:
                values[i] = _numbers(found, shape[1:], "one number for a point")
                self.seen = True
            done[i] = True
            if stored is not None:
                stored.keep(done, values)
        if failure is not None and not self.seen:
            raise ValueError(
                f"`objective` failed at every one of the first {size} points; the first failure "
                f"is {failure!r}."
            ) from failure
        return values

    def _each(self, rows: list):
        """Values or exceptions, in order."""
        attempt = partial(_attempt, self.objective, self.spread)
        if self.workers is None or isinstance(self.workers, int):
            return map(attempt, rows)
        if isinstance(self.workers, Executor) or hasattr(self.workers, "submit"):
            waiting = [self.workers.submit(attempt, row) for row in rows]
            return (future.result() for future in waiting)
        return self.workers(attempt, rows)

    def traced(self, dtype: Any) -> "Called":
        """The objective as a function that compiled code can call."""
        shape = () if self.images is None else (self.images,)
        known = isinstance(self.objective, Hashable)
        objective = self.objective if known else partial(self.objective)
        return Called(objective, self.vectorized, shape, dtype)


class Called(eqx.Module):
    """A black box as a function of one place; the same one compiles nothing again."""

    objective: Callable[..., Any] = eqx.field(static=True)
    vectorized: bool = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)

    def __call__(self, *place):
        value = jax.ShapeDtypeStruct(self.shape, self.dtype)
        return jax.pure_callback(self._measured, value, *place, vmap_method="sequential")

    def _measured(self, *place):
        place = jax.tree.map(np.array, place)
        if self.vectorized:
            place = jax.tree.map(lambda a: a[None], place)
            found = _numbers(self.objective(*place), (1, *self.shape), "values")[0]
        else:
            found = _attempt(self.objective, True, place)
            failed = isinstance(found, Exception)
            found = np.nan if failed else _numbers(found, self.shape, "one number")
        return np.broadcast_to(np.asarray(found, self.dtype), self.shape)


def _attempt(objective: Callable[..., Any], spread: bool, place: Any) -> Any:
    """A value, or what was raised; a function of a module, so that processes can be sent it."""
    try:
        return objective(*place) if spread else objective(place)
    except Exception as error:
        return error


def _numbers(found: Any, shape: tuple, wanted: str) -> Any:
    if type(found) is float and shape == ():
        return found
    array = np.asarray(found)
    if array.dtype == object or np.iscomplexobj(array) or array.shape != shape:
        raise ValueError(
            f"`objective` returned an array of shape {array.shape} and type {array.dtype}; it must "
            f"return {wanted}, of shape {shape}."
        )
    return array.astype(float)


class Stored:
    """The values of a batch that is under way, written at most once a second."""

    def __init__(self, folder: Path, nit: int, config: Any):
        self.path, self.nit, self.config = folder / "values", nit, config
        self.written = time.monotonic()

    def read(self, shape: tuple) -> tuple[np.ndarray, np.ndarray]:
        """Which values are known, and the values."""
        blank = np.zeros(shape[:1], bool), np.full(shape, np.nan)
        if self.path.exists():
            nit, *known = load(self.path, (0, *blank), self.config, argument="folder")
            if nit == self.nit:
                return np.array(known[0]), np.array(known[1])
        return blank

    def keep(self, done: np.ndarray, values: np.ndarray) -> None:
        if time.monotonic() - self.written > 1.0:
            self.write(done, values)

    def write(self, done: np.ndarray, values: np.ndarray) -> None:
        save(self.path, (self.nit, done, values), self.config)
        self.written = time.monotonic()


def replaced(system: Any, objective: Any, other: Any) -> Any:
    """The system with a function in place of `objective`, wherever it holds it."""

    def is_it(a):
        # Modules compare their arrays, which may be traced.
        if not callable(a) or isinstance(objective, eqx.Module):
            return a is objective and a is not None
        return a is objective or (a == objective) is True

    return jax.tree.map(lambda a: other if is_it(a) else a, system, is_leaf=is_it)

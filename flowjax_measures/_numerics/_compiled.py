"""A function compiled once for what does not change of its arguments: shapes, functions, text."""

import contextlib
import functools
import gc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ._precision import full_precision, in_full_precision


class _Fixed:
    """What a program depends on beside numbers, as a key."""

    def __init__(self, structure: Any, leaves: tuple):
        self.structure, self.leaves = structure, leaves
        self.hash = hash((structure, tuple(map(_key, leaves))))

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        return self.structure == other.structure and self.leaves == other.leaves


class Constant(float):
    """A Python float that is part of the program."""


class _Beside(eqx.Module):
    """Of a result what is no array: its structure, and its leaves with holes for arrays."""

    structure: Any = eqx.field(static=True)
    leaves: tuple = eqx.field(static=True)


def compiled(function: Callable) -> Callable:
    """`jax.jit` of a function of any pytrees, as equinox' with less work for each call.

    Arrays of JAX and NumPy and Python floats are traced (0.0 is not: it may leave terms out);
    everything else is part of the program.
    """

    @functools.partial(jax.jit, static_argnums=1)
    def program(numbers: list, fixed: _Fixed):
        leaves = [
            n if f is _Hole else float(f) if isinstance(f, Constant) else f
            for n, f in zip(numbers, fixed.leaves, strict=True)
        ]
        with full_precision():
            result = function(*jax.tree.unflatten(fixed.structure, leaves))
        leaves, structure = jax.tree.flatten(result)
        arrays = [leaf for leaf in leaves if eqx.is_array(leaf)]
        rest = tuple(_Hole if eqx.is_array(leaf) else leaf for leaf in leaves)
        return arrays, _Beside(structure, rest)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with collector_paused():
            arrays, rest = program(*_apart(arguments))
        arrays = iter(arrays)
        leaves = [next(arrays) if leaf is _Hole else leaf for leaf in rest.leaves]
        return jax.tree.unflatten(rest.structure, leaves)

    call.lower = lambda *arguments: program.lower(*_apart(arguments))  # pyright: ignore
    return call


@contextlib.contextmanager
def collector_paused():
    """Tracing makes many objects that stay: looking for garbage among them, and among all that was
    imported, takes as long as tracing.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def jitted(function: Callable) -> Any:
    """`equinox.filter_jit` of a function, or of a method, that multiplies in full precision."""
    return eqx.filter_jit(collector_paused()(in_full_precision(function)))


class _Hole:
    """In the place of a number."""


def _apart(arguments: tuple) -> tuple[list, _Fixed]:
    leaves, structure = jax.tree.flatten(arguments)
    traced = [_is_number(leaf) for leaf in leaves]
    numbers = [leaf if t else None for leaf, t in zip(leaves, traced, strict=True)]
    fixed = tuple(_Hole if t else leaf for leaf, t in zip(leaves, traced, strict=True))
    return numbers, _Fixed(structure, fixed)


def _is_number(leaf: Any) -> bool:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return True
    return type(leaf) is float and leaf != 0


def _key(leaf: Any) -> Any:
    try:
        return hash(leaf)
    except TypeError:  # Compared by equality.
        return type(leaf)

"""A warning for functions that a loop makes anew, so that every pass compiles again."""

import warnings
from types import FunctionType
from typing import Any
from weakref import ref

import jax
from jax.core import Tracer
from jaxtyping import Array

# As many compilations of one piece of code, with arrays of the same shapes, are bad luck.
_PATIENCE = 5
_seen: dict[Any, tuple[tuple[ref, ...], int]] = {}


def warn_of_new_functions(*trees: Any) -> None:
    """Called while a run is traced: that is, once for each time that it compiles."""
    leaves = jax.tree.leaves(trees)
    functions = [leaf for leaf in leaves if isinstance(leaf, FunctionType)]
    if not functions:
        return
    shapes = tuple((a.shape, a.dtype) for a in leaves if isinstance(a, Array | Tracer))
    key = tuple(f.__code__ for f in functions), shapes
    last, times = _seen.get(key, ((), 0))
    # The same functions again: another step, solver or transformation.
    if [f() for f in last] == functions:
        return
    _seen[key] = tuple(map(ref, functions)), times + 1
    if times + 1 == _PATIENCE:
        code = next(f for f, old in zip(functions, last, strict=True) if old() is not f).__code__
        warnings.warn(
            f"`simulate` compiled {_PATIENCE} times because the function of {code.co_filename}, "
            f"line {code.co_firstlineno}, was made anew each time. Make it once, and give numbers "
            "that change as fields of an equinox.Module or of the system, not by closure.",
            stacklevel=2,
        )

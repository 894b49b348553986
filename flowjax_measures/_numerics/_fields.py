"""Fields that are numbers, checked once, where a module is made with them."""

import dataclasses
import functools
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer


class Checked(eqx.Module):
    """A module whose numbers are finite enough, real, of their sign and shape, and no text.

    Fields annotated as scalars take one number: whole numbers and NumPy's become Python floats, so
    that a new value compiles nothing. Functions and modules in their place (schedules) pass.
    """

    def __check_init__(self):
        for name, signs, scalar in _numbers(type(self)):
            value = getattr(self, name, None)
            if value is None or callable(value) or isinstance(value, eqx.Module | Tracer):
                continue
            checked = _checked(f"`{name}` of {type(self).__name__}", value, signs, scalar)
            if checked is not value:
                object.__setattr__(self, name, checked)


@functools.cache
def _numbers(kind: type) -> list[tuple[str, frozenset[str], bool]]:
    """The fields of a class that are numbers: name, sign, whether they are one number."""
    found = []
    for field in dataclasses.fields(kind):
        members, signs = _members(field.type)
        if float in members and not field.metadata.get("static", False):
            one = complex not in members and not any(getattr(m, "dims", ()) for m in members)
            found.append((field.name, frozenset(signs), one))
    return found


def _members(annotation: Any) -> tuple[list, set[str]]:
    """The types of a union, seen through annotations, and what these say."""
    if get_origin(annotation) is Annotated:
        inner, *said = get_args(annotation)
        members, signs = _members(inner)
        return members, signs | {s for s in said if isinstance(s, str)}
    if get_origin(annotation) in (Union, UnionType):
        pairs = [_members(a) for a in get_args(annotation)]
        return [m for ms, _ in pairs for m in ms], set().union(*(s for _, s in pairs))
    return [annotation], set()


def _checked(what: str, value: Any, signs: frozenset[str], scalar: bool) -> Any:
    """The value, Python's own float where it is one number of Python or NumPy."""
    if isinstance(value, np.generic | int) and not isinstance(value, bool | np.bool_):
        value = float(value) if np.isrealobj(value) else complex(value)
    if not isinstance(value, float | np.ndarray | jax.Array):
        raise ValueError(f"{what} is {value!r}; give {_wanted(signs, scalar)}.")
    if scalar and np.ndim(value) > 0:
        raise ValueError(
            f"{what} has shape {np.shape(value)}; give one number, and jax.vmap or `sweep` over "
            "many."
        )
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        return value
    if not np.issubdtype(getattr(value, "dtype", float), np.floating):
        if np.iscomplexobj(value):
            raise ValueError(f"{what} is complex; give {_wanted(signs, scalar)}.")
        return value
    numbers = np.asarray(value, float)
    bad = np.any(np.isnan(numbers))
    bad |= "positive" in signs and np.any(numbers <= 0)
    bad |= "not negative" in signs and np.any(numbers < 0)
    if bad:
        shown = value if np.ndim(value) == 0 else "an array with such numbers"
        raise ValueError(f"{what} is {shown}; give {_wanted(signs, scalar)}.")
    return value


def _wanted(signs: frozenset[str], scalar: bool) -> str:
    if not scalar:
        return "real numbers" + (f" that are {min(signs)}" if signs else "")
    return "one real number" + (f" that is {min(signs)}" if signs else "")

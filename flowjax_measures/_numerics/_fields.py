"""Fields, checked once, where a module is made with them."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

# Arrays of more numbers are not read.
_LARGE = 2**20


class Checked(eqx.Module):
    """A module whose numbers are finite enough, real, of their sign and shape, and no text.

    Fields annotated as scalars take one number: whole numbers and NumPy's become Python floats, so
    that a new value compiles nothing. Functions and modules in their place (schedules) pass. What
    is annotated as a function can be called, what is annotated as an array has no NaN, and no
    field holds a class in place of an instance. What a class checks itself comes after that.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__check_init__" in cls.__dict__:
            own = cls.__dict__["__check_init__"]

            @functools.wraps(own)
            def check(self):
                Checked.__check_init__(self)
                own(self)

            cls.__check_init__ = check

    def __check_init__(self):
        for name, members, kinds in _fields(type(self)):
            value = getattr(self, name, None)
            what = f"`{name}` of {type(self).__name__}"
            check_choice(what, value, members)
            check_kind(what, value, kinds)
        for name, members, signs in _numbers(type(self)):
            value = getattr(self, name, None)
            if value is None or callable(value) or isinstance(value, eqx.Module | Tracer):
                continue
            checked = check_number(f"`{name}` of {type(self).__name__}", value, members, signs)
            if checked is not value:
                object.__setattr__(self, name, checked)


@functools.cache
def _fields(kind: type) -> list[tuple[str, tuple, tuple]]:
    """The fields that a class is made with, their types, and these without their parameters."""
    found = []
    for field in dataclasses.fields(kind):
        if field.init:
            members = tuple(meaning(field.type)[0])
            found.append((field.name, members, tuple(get_origin(m) or m for m in members)))
    return found


@functools.cache
def _numbers(kind: type) -> list[tuple[str, tuple, frozenset[str]]]:
    """The fields of a class that are numbers: their names, types and signs."""
    found = []
    for field in dataclasses.fields(kind):
        members, signs = meaning(field.type)
        if float in members and not field.metadata.get("static", False):
            found.append((field.name, members, signs))
    return found


def check_choice(what: str, value: Any, members: tuple) -> None:
    """Refuses what is not among the values, where all of them are named."""
    if members and all(get_origin(m) is Literal for m in members):
        choices = [c for m in members for c in get_args(m)]
        if not (isinstance(value, int | str) and value in choices):
            raise ValueError(f"{what} is {value!r}; give one of {', '.join(map(repr, choices))}.")


def check_kind(what: str, value: Any, members: tuple, data: bool = False) -> None:
    """Refuses what cannot be meant: a class, a text, another module, NaN or complex numbers.

    Of `data`, the arguments of a function, the number of axes is looked at, and NaN is not: it may
    mark what is missing. Where they may be anything, they may be text and classes of Python.
    """
    anything = not members or any(map(_takes_all, members))
    if inspect.isclass(value) and not (data and anything and not issubclass(value, eqx.Module)):
        raise ValueError(f"{what} is the class {value.__name__}; give an instance of it.")
    text = isinstance(value, str) and str not in members and Literal not in members
    if text and not (data and anything):
        raise ValueError(f"{what} is the text {value!r}; text has no meaning here.")
    if isinstance(value, Tracer) or anything:
        return
    if not any(_is_of(value, member) for member in members):
        wanted = " or ".join(dict.fromkeys(_name(m) for m in members if m is not type(None)))
        raise ValueError(f"{what} is {_shown(value)}; give {wanted}.")
    if isinstance(value, complex) and complex not in members:
        raise ValueError(f"{what} is {value!r}; give a real number.")
    arrays = [m for m in members if hasattr(m, "dims")]
    if not arrays or not isinstance(value, np.ndarray | jax.Array) or value.size > _LARGE:
        return
    if np.iscomplexobj(value) and not any("complex128" in m.dtypes for m in arrays):
        raise ValueError(f"{what} is complex; give real numbers.")
    if data:
        shapes = [m.dim_str for m in arrays]
        if not any("..." in s or "*" in s or value.ndim == len(s.split()) for s in shapes):
            raise ValueError(f"{what} has shape {value.shape}; give {_shape(shapes)}.")
        return
    local = isinstance(value, np.ndarray) or value.is_fully_addressable
    floats = jax.numpy.issubdtype(value.dtype, np.inexact)
    if local and floats and np.any(np.isnan(np.asarray(value))):
        raise ValueError(f"{what} holds NaN; give numbers.")


def _shape(shapes: list[str]) -> str:
    count = [len(s.split()) for s in shapes]
    axes = " or ".join(dict.fromkeys("a number" if n == 0 else f"{n} axes" for n in count))
    return axes.replace("1 axes", "one axis")


NUMBERS = (float, int, complex, np.number, np.bool, np.ndarray, jax.Array)
_PLAIN = {
    bool: "True or False",
    int: "a whole number",
    tuple: "a tuple",
    Sequence: "a sequence",
    Mapping: "a dict",
}


def _takes_all(member: Any) -> bool:
    """Whether a type is one of which nothing can be said here."""
    module = inspect.isclass(member) and issubclass(member, eqx.Module)
    known = module or hasattr(member, "dims") or member in (Callable, Literal, type(None), str)
    return not known and member not in NUMBERS and member not in _PLAIN


def _is_of(value: Any, member: Any) -> bool:
    """Whether a value may stand for a type; numbers and arrays are looked at elsewhere."""
    if member is type(None):
        return value is None
    if member is Callable:
        return callable(value)
    if member is Literal:
        return isinstance(value, str | int | float | None)
    if member is bool:
        return isinstance(value, bool | np.bool)
    if member is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if member in (tuple, Sequence):
        return isinstance(value, Sequence | np.ndarray | jax.Array)
    if hasattr(member, "dims"):
        return isinstance(value, np.generic | np.ndarray | jax.Array)
    if member in NUMBERS:
        return isinstance(value, np.generic | np.ndarray | jax.Array | float | int | complex)
    return isinstance(value, member)


def _name(member: Any) -> str:
    if member is Callable:
        return "a function"
    if hasattr(member, "dims"):
        return "an array"
    if member in NUMBERS and member not in _PLAIN:
        return "a number"
    if member in _PLAIN:
        return _PLAIN[member]
    name = member.__name__.removeprefix("Abstract")
    return f"a{'n' * (name[0] in 'AEIO')} {name}{vars(member).get('for_example', '')}"


def _shown(value: Any) -> str:
    """A value in few words."""
    short = isinstance(value, int | float | complex | str | None)
    return repr(value) if short else f"a {type(value).__name__}"


@functools.cache
def meaning(annotation: Any) -> tuple[tuple, frozenset[str]]:
    """The types of a union, seen through annotations, and what these say."""
    if get_origin(annotation) is Annotated:
        inner, *said = get_args(annotation)
        members, signs = meaning(inner)
        return members, signs | {s for s in said if isinstance(s, str)}
    if get_origin(annotation) in (Union, UnionType):
        pairs = [meaning(a) for a in get_args(annotation)]
        return tuple(m for ms, _ in pairs for m in ms), frozenset().union(*(s for _, s in pairs))
    return (annotation,), frozenset()


def is_scalar(members: tuple) -> bool:
    """Whether these types are of one number."""
    return complex not in members and not any(getattr(m, "dims", ()) for m in members)


def check_number(what: str, value: Any, members: tuple, signs: frozenset[str]) -> Any:
    """The number, Python's own float where it is one number of Python or NumPy."""
    scalar = is_scalar(members)
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

"""Arguments of public functions, looked at by their annotations before anything runs."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar, get_origin

import jax
from jax.core import Tracer

from ._checks import check_key
from ._fields import NUMBERS, check_choice, check_kind, check_number, is_scalar, meaning

_LOOKED_AT = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function that refuses, by name, arguments which its annotations don't allow.

    What is annotated as a measure, a function, an array, a number or a key is one; one number is
    no vector, is no NaN and has its sign; arrays have as many axes as they say, and may hold NaN.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, parameter, value in _named(signature, args, kwargs):
            _check(name, parameter, value)
        try:
            return function(*args, **kwargs)
        except _LOOKED_AT as error:
            given = [(name, value) for name, _, value in _named(signature, args, kwargs)]
            traced = [f"`{name}`" for name, value in given if _is_traced(value)]
            if not traced:
                raise
            raise ValueError(
                f"`{function.__name__}` looks at numbers of {', '.join(traced)}, which are traced; "
                "call it outside of jit, vmap and grad."
            ) from error

    return call


def _is_traced(value: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def _named(signature: inspect.Signature, args: tuple, kwargs: dict) -> Iterator[tuple]:
    """Each argument with its name; wrong ones are left to Python."""
    parameters = list(signature.parameters.values())
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            where = parameters.index(parameter)
            parameters[where:] = [parameter] * max(len(args) - where, 0)
            break
    for parameter, value in zip(parameters, args, strict=False):
        yield parameter.name, parameter, value
    for name, value in kwargs.items():
        if name in signature.parameters:
            yield name, signature.parameters[name], value


def _check(name: str, parameter: inspect.Parameter, value: Any) -> None:
    if value is parameter.default or isinstance(value, Tracer):
        return
    what = f"`{name}`"
    members, signs = meaning(parameter.annotation)
    if "key" in signs:
        if value is not None or type(None) not in members:
            check_key(value, name)
        return
    check_choice(what, value, members)
    check_kind(what, value, tuple(get_origin(m) or m for m in members), data=True)
    if int in members and "positive" in signs and isinstance(value, int) and value < 1:
        raise ValueError(f"{what} is {value}; give a whole number ≥ 1.")
    known = is_scalar(members) or signs
    if float in members and known and isinstance(value, NUMBERS):
        check_number(what, value, members, signs)

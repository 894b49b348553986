"""What was given as numbers, as an array."""

import inspect
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


def given(name: str, value: Any, dtype: Any = None) -> Array:
    """The array of the argument `name`; what holds no numbers is refused by that name."""
    wanted = f"`{name}` is {_kind(value)}; give an array of numbers."
    if value is None or inspect.isclass(value) or isinstance(value, str):
        raise ValueError(wanted)
    try:
        return jnp.asarray(value, dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(wanted) from error


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, str):
        return repr(value)
    return f"a {type(value).__name__}, not all of it numbers of one shape"

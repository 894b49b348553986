"""Products in full precision: accelerators would take squared distances in TF32 or bfloat16."""

import contextlib
import functools
from collections.abc import Callable

import jax


def full_precision() -> contextlib.AbstractContextManager:
    """What is traced inside multiplies in full, unless the caller has chosen a precision.

    `jax.default_matmul_precision("tensorfloat32")` around a call, or the option of that name, asks
    for less: three digits.
    """
    # Also of a context around the call, which `config.read` does not see.
    if jax.config.jax_default_matmul_precision is not None:  # pyright: ignore
        return contextlib.nullcontext()
    return jax.default_matmul_precision("highest")


def in_full_precision(function: Callable) -> Callable:
    """A function, such as a rule for derivatives, that is traced with `full_precision`."""

    @functools.wraps(function)
    def full(*arguments, **options):
        with full_precision():
            return function(*arguments, **options)

    return full

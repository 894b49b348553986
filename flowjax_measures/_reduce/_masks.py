r"""Formulas of one pair that are open or shut: ℓ where labels allow it, −∞ elsewhere."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.interpreters import partial_eval
from jaxtyping import Array

from ._rewrite import walk

# What a kernel can tell of two labels.
_OF_LABELS = {
    "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "add", "sub", "mul", "neg", "abs",
    "min", "max", "select_n", "convert_element_type", "copy", "jit", "pjit",
}  # fmt: skip


class Closed(Exception):
    """−∞ is written where its place cannot be read off."""


class _Open(NamedTuple):
    """A number that is −∞ unless all of some conditions hold."""

    value: Any
    conditions: tuple


def opened(trace: Any, constants: Sequence, point: Sequence) -> tuple[list, Any, tuple]:
    """The values and the tilt of a pair without its masks, and the conditions that they set.

    **Raises:** `Closed` where −∞ does more than close the tilt.
    """
    *values, tilt = walk(trace, constants, point, _rule, leave=lambda v: v)
    if any(isinstance(v, _Open) for v in values):
        raise Closed
    value, conditions = tilt if isinstance(tilt, _Open) else (tilt, ())
    return [*values], value, conditions


def condition(of: Callable, *examples: Any) -> tuple[list[bool], Callable]:
    """Which of the arguments a condition reads, and the condition as a function of those.

    **Raises:** `Closed` unless these are integers, compared without a table.
    """
    closed = jax.make_jaxpr(of)(*examples)
    jaxpr, used = partial_eval.dce_jaxpr(closed.jaxpr, [True])
    read: list[Any] = [v.aval for v in jaxpr.invars]
    if closed.consts or not _simple(jaxpr) or any(a.shape or a.dtype != jnp.int32 for a in read):
        raise Closed
    return used, lambda *labels: walk(jaxpr, (), labels, lambda *_: None)[0]


def _simple(jaxpr: Any) -> bool:
    for equation in jaxpr.eqns:
        if equation.primitive.name not in _OF_LABELS:
            return False
        if any(v.aval.shape for v in (*equation.invars, *equation.outvars)):
            return False
        if "jaxpr" in equation.params and not _simple(equation.params["jaxpr"].jaxpr):
            return False
    return True


def _shut(value: Any) -> bool:
    return (
        not isinstance(value, Tracer | Array | _Open) and np.ndim(value) == 0 and value == -np.inf
    )


def _rule(equation, values):
    """Conditions instead of −∞: sums keep them, all else that reads them is refused."""
    name = equation.primitive.name
    if name in ("convert_element_type", "copy") and _shut(values[0]):
        return values
    if name == "select_n" and len(values) == 3 and sum(map(_shut, values[1:])) == 1:
        which, *cases = values
        shut = _shut(cases[0])
        value = cases[1] if shut else cases[0]
        value, more = value if isinstance(value, _Open) else (value, ())
        return [_Open(value, (*more, which if shut else jnp.logical_not(which)))]
    places = [i for i, v in enumerate(values) if isinstance(v, _Open)]
    if not places or "jaxpr" in equation.params:
        return None
    if name not in ("add", "sub", "convert_element_type", "copy") or (
        name == "sub" and 1 in places
    ):
        raise Closed
    conditions = tuple(c for i in places for c in values[i].conditions)
    plain = [v.value if isinstance(v, _Open) else v for v in values]
    return [_Open(equation.primitive.bind(*plain, **equation.params), conditions)]

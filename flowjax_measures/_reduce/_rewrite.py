r"""Formulas of one pair, traced and rewritten so that tiles of pairs are products of matrices.

A sum of squares of x − y, however it was written, becomes ‖x‖² + ‖y‖² − 2⟨x, y⟩ about a source,
whose batch over targets and sources is one product of matrices. In few dimensions the value stays
a sum of squared differences, exact and as fast; its derivative is that of products.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from jaxtyping import Array, Float

# On a CPU, up to here a tile is faster coordinate by coordinate than as a product of matrices:
# at d = 3, 0.6 against 14 ns a pair.
FEW = 8
_CALLS = ("jit", "pjit", "closed_call", "core_call")


def walk(
    jaxpr: Any, consts: Sequence, args: Sequence, rule: Callable, leave: Callable | None = None
) -> list[Any]:
    """Evaluates a jaxpr where `rule(equation, values)` may take an equation over, or return None.

    A rule may return symbols, with a method `force`, for itself; other equations get their values,
    and so do results, unless `leave` says what becomes of them.
    """
    leave = _force if leave is None else leave
    env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    read = lambda v: v.val if isinstance(v, Literal) else env[v]  # noqa: E731
    for equation in jaxpr.eqns:
        values = [read(v) for v in equation.invars]
        results = rule(equation, values)
        if results is None and (inner := _called(equation)) is not None:
            results = walk(inner.jaxpr, inner.consts, values, rule, leave)
        if results is None:
            results = _apply(equation, [_force(v) for v in values])
        env.update(zip(equation.outvars, results, strict=True))
    return [leave(read(v)) for v in jaxpr.outvars]


class Trace(NamedTuple):
    """What `walk` reads of a jaxpr."""

    constvars: list
    invars: list
    eqns: list
    outvars: list


def split(closed: Any) -> tuple[Trace, list[Array]]:
    """The part of a trace that depends on its inputs, and its constants: the rest, evaluated."""
    jaxpr = closed.jaxpr
    moving: set = set()
    _depend(jaxpr, [True] * len(jaxpr.invars), moving)
    env = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    kept = []
    for equation in jaxpr.eqns:
        reads = [v for v in equation.invars if not isinstance(v, Literal)]
        if any(v in moving for v in (*reads, *equation.outvars)):
            kept.append(equation)
            # Outputs of a call that do not move by themselves come with those that do.
            moving.update(equation.outvars)
            continue
        values = [v.val if isinstance(v, Literal) else env[v] for v in equation.invars]
        env.update(zip(equation.outvars, _apply(equation, values), strict=True))
    read = [v for e in kept for v in e.invars] + list(jaxpr.outvars)
    names = list(dict.fromkeys(v for v in read if not isinstance(v, Literal) and v in env))
    trace = Trace(names, jaxpr.invars, kept, jaxpr.outvars)
    return trace, [jnp.asarray(env[v]) for v in names]


def masks(jaxpr: Any) -> bool:
    """Whether −∞ is written in a formula: it may leave sources out."""
    for equation in jaxpr.eqns:
        literals = [v.val for v in equation.invars if isinstance(v, Literal)]
        if any(np.ndim(v) == 0 and v == -np.inf for v in literals):
            return True
        if (inner := _called(equation)) is not None and masks(inner.jaxpr):
            return True
    return False


def _called(equation: Any) -> Any:
    if equation.primitive.name not in _CALLS:
        return None
    return equation.params.get("jaxpr", equation.params.get("call_jaxpr"))


def _apply(equation: Any, values: list) -> list:
    found = equation.primitive.get_bind_params(equation.params)
    functions, params = found if isinstance(found, tuple) else ((), found)
    results = equation.primitive.bind(*functions, *values, **params)
    return list(results) if equation.primitive.multiple_results else [results]


def _force(value: Any) -> Any:
    return value.force() if isinstance(value, _Difference) else value


class _Difference:
    """u − v of vectors of which one is of the source alone, or its square."""

    def __init__(self, u, v, squared: bool, distance: Callable):
        self.u, self.v, self.squared, self.distance = u, v, squared, distance

    def force(self):
        return (self.u - self.v) ** 2 if self.squared else self.u - self.v


class Distances:
    """The rule for `walk` that finds squared distances of a target and a source.

    Without `centres` it is a search, at one source: the places of that source are collected in
    `found`. With them every distance is taken about its centre, which keeps the digits of clouds
    that are far from the origin.
    """

    def __init__(self, trace: Trace, centres: list[Array] | None = None):
        self.of_source: set = set()
        _depend(trace, [True] * len(trace.invars), self.of_source)
        self.found: list[Array] = []
        self.centres: Iterator[Array] | None = None if centres is None else iter(centres)

    def __call__(self, equation, values):
        name, params = equation.primitive.name, equation.params
        first = values[0] if values else None
        out = equation.outvars[0].aval
        if name == "sub" and out.ndim == 1 and jnp.issubdtype(out.dtype, jnp.floating):
            there = [not isinstance(v, Literal) and v in self.of_source for v in equation.invars]
            if there[0] != there[1]:
                return [self._difference(*(_force(v) for v in values), place=there.index(True))]
        if not isinstance(first, _Difference):
            return None
        both = len(values) == 2 and values[0] is values[1]
        if not first.squared:
            power = name == "integer_pow" and params["y"] == 2
            if power or name == "square" or (name == "mul" and both):
                return [_Difference(first.u, first.v, True, first.distance)]
            if name == "dot_general" and both and out.ndim == 0:
                return [first.distance()]
        elif name == "reduce_sum" and out.ndim == 0:
            return [first.distance()]
        return None

    def _difference(self, u, v, place):
        if self.centres is None:
            self.found.append((u, v)[place])
            centre = None
        else:
            centre = next(self.centres)

        def distance():
            return jnp.sum((u - v) ** 2) if centre is None else _square(u - centre, v - centre)

        return _Difference(u, v, False, distance)


def depends(jaxpr: Any, inputs: Sequence[bool]) -> list[bool]:
    """Which outputs of a jaxpr depend on some of its inputs."""
    return _depend(jaxpr, inputs, set())


def _depend(jaxpr: Any, inputs: Sequence[bool], into: set) -> list[bool]:
    """Collects the variables that depend on some inputs; tells which outputs do."""
    into.update(v for v, yes in zip(jaxpr.invars, inputs, strict=True) if yes)
    depends = lambda v: not isinstance(v, Literal) and v in into  # noqa: E731
    for equation in jaxpr.eqns:
        arguments = [depends(v) for v in equation.invars]
        if (inner := _called(equation)) is not None:
            outputs = _depend(inner.jaxpr, arguments, into)
        else:
            outputs = [any(arguments)] * len(equation.outvars)
        into.update(v for v, yes in zip(equation.outvars, outputs, strict=True) if yes)
    return [depends(v) for v in jaxpr.outvars]


@jax.custom_jvp
def _square(x: Float[Array, " d"], y: Float[Array, " d"]) -> Float[Array, ""]:
    """‖x − y‖², with the derivative of ‖x‖² + ‖y‖² − 2⟨x, y⟩."""
    if x.size <= FEW:
        differences = [(x[k] - y[k]) ** 2 for k in range(x.size)]
        return sum(differences[1:], differences[0])
    scale = jnp.vdot(x, x) + jnp.vdot(y, y)
    square = scale - 2 * jnp.vdot(x, y)
    # What round-off leaves of the distance of a point to itself is 0.
    return jnp.where(square > 8 * jnp.finfo(square.dtype).eps * scale, square, 0)


@_square.defjvp
def _square_jvp(primals, tangents):
    (x, y), (x_dot, y_dot) = primals, tangents
    own = jnp.vdot(x, x_dot) + jnp.vdot(y, y_dot)
    return _square(x, y), 2 * (own - jnp.vdot(x, y_dot) - jnp.vdot(x_dot, y))


_DIGITS = {"tensorfloat32": 10, "bfloat16": 7}


def rounded(function: Callable, precision: str) -> Callable:
    """`function` with the operands of its products rounded, to the nearest number, ties to even.

    Then what an accelerator makes of such a product is exact but for the order of the sum.
    """
    # TPUs split TF32's eleven bits into two times eight.
    asked = jax.lax.Precision.HIGH if precision == "tensorfloat32" else jax.lax.Precision.DEFAULT

    def product(equation, values):
        if equation.primitive.name != "dot_general" or not all(map(_floating, values)):
            return None
        values = [jax.lax.reduce_precision(v, 8, _DIGITS[precision]) for v in values]
        return [equation.primitive.bind(*values, **equation.params | {"precision": (asked, asked)})]

    def narrowed(*args):
        closed = jax.make_jaxpr(lambda *a: function(*a))(*args)
        return walk(closed.jaxpr, closed.consts, args, product)

    return narrowed


def _floating(a: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(a), jnp.floating)


def on_cpu(function: Callable) -> Callable:
    """`function` with its products of matrices in the forms that XLA is fast at on a CPU."""

    def rewritten(*args):
        closed = jax.make_jaxpr(lambda *a: function(*a))(*args)
        return walk(closed.jaxpr, closed.consts, args, _product)

    return rewritten


def _product(equation, values):
    if equation.primitive.name != "dot_general":
        return None
    a, b = values
    (on_a, on_b), batch = equation.params["dimension_numbers"]
    dtype = equation.outvars[0].aval.dtype
    plain = len(on_a) == 1 and not batch[0] and a.ndim == b.ndim == 2
    if not plain or not a.dtype == b.dtype == dtype or not jnp.issubdtype(dtype, jnp.floating):
        return None
    if a.shape[on_a[0]] <= FEW < min(a.shape[1 - on_a[0]], b.shape[1 - on_b[0]]):
        a, b = jnp.moveaxis(a, on_a[0], 0), jnp.moveaxis(b, on_b[0], 0)
        parts = [u[:, None] * v[None, :] for u, v in zip(a, b, strict=True)]
        return [sum(parts[1:], parts[0])]
    # XLA packs factors badly, at up to 30 times the cost, unless the larger one stands on the left
    # and is summed over its last axis, or on the right over its first, and the other over its
    # first. The barriers keep XLA from folding transpositions back in.
    large_left = a.size >= b.size
    (large, axis), (small, other) = ((a, on_a[0]), (b, on_b[0]))[:: 1 if large_left else -1]
    small = jax.lax.optimization_barrier(jnp.moveaxis(small, other, 0))
    ordered = (large, small) if axis == 1 else (small, large)
    product = jax.lax.dot_general(*ordered, (((axis,), (0,)), batch))
    product = jax.lax.optimization_barrier(product)
    return [product if large_left == (axis == 1) else product.T]

"""Constant steps: a scan over a diffrax solver's own `step`, counted in integers."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._brownian import Inside, OfStep, OnRequest, StepKeyed
from ._method import Method
from ._proper import finite, proper
from ._schedule import Schedule


def scan(
    body: Callable, carry: PyTree, xs: PyTree, remat: str, draw: Callable, block: int
) -> tuple[PyTree, PyTree]:
    """`lax.scan` of body(carry, (x, draw of x)) with what to keep for the reverse pass.

    `draw` makes the random numbers of `block` steps at once: small arrays are up to four times
    dearer a number than long ones. `none` keeps every residual, `step` the carry and the draws
    (random numbers cost more than the step itself), `sqrt` the carry of each of about √n chunks,
    `recursive` a fixed number of carries (no forward mode).
    """
    length = jax.tree.leaves(xs)[0].shape[0]
    chunk = _divisor(length, math.isqrt(length)) if remat == "sqrt" else length
    if remat == "step" or (remat == "sqrt" and chunk == 1):
        body = jax.checkpoint(body, prevent_cse=False)

    def steps(carry, xs):
        return jax.lax.scan(body, carry, (xs, draw(xs)))

    def blocks(carry, xs):
        return _parts(jax.lax.scan, steps, carry, xs, _divisor(chunk, block))

    if remat == "recursive":
        checkpointed = functools.partial(eqxi.scan, kind="checkpointed")
        return _parts(checkpointed, steps, carry, xs, 1)
    if 1 < chunk < length:
        forgetful = jax.checkpoint(blocks, prevent_cse=False)
        return _parts(jax.lax.scan, forgetful, carry, xs, chunk)
    return blocks(carry, xs)


def _parts(
    scan: Callable, run: Callable, carry: PyTree, xs: PyTree, size: int
) -> tuple[PyTree, PyTree]:
    """Runs over parts of `xs` of a size, the last one shorter."""
    length = jax.tree.leaves(xs)[0].shape[0]
    if size >= length:
        return run(carry, xs)
    whole = length - length % size
    parts = jax.tree.map(lambda a: a[:whole].reshape(-1, size, *a.shape[1:]), xs)
    carry, ys = scan(run, carry, parts)
    ys = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), ys)
    if whole < length:
        carry, tail = run(carry, jax.tree.map(lambda a: a[whole:], xs))
        ys = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, tail)
    return carry, ys


def _divisor(length: int, near: int) -> int:
    """The even divisor of `length` closest to `near`, or `near` if none is within a factor of two.

    Random numbers come in pairs of steps.
    """
    near = min(near + near % 2, length)
    divisors = [c for c in range(max(near // 2, 1), 2 * near + 1) if length % c == 0 == c % 2]
    return min(divisors, key=lambda c: abs(c - near), default=near)


class Run(eqx.Module):
    """What the constant-step engine returns; `bad_time` counts from the start."""

    ys: PyTree
    final: PyTree
    bad_time: Array
    steps: int


def run(
    method: Method,
    y0: PyTree,
    times: Schedule,
    keyed: StepKeyed | None,
    observe: Callable[[PyTree], PyTree],
    remat: str,
    meter: diffrax.AbstractProgressMeter,
) -> Run:
    """Steps through a schedule and observes at every one of its times.

    The state of the solver is carried from interval to interval as long as the step stays.
    `bad_time` is the end of the first step whose state is not finite, +inf if there is none.
    """
    solver, dtype, longest = method.solver, times.times.dtype, times.longest
    block = longest if keyed is None else keyed.block()
    if keyed is not None:
        keyed = dataclasses.replace(keyed, even=times.even and remat != "recursive")

    def path(interval, j, normals, t0, t1):
        if keyed is None:
            return None
        if method.parted:
            return Inside(keyed.key, keyed.shapes, keyed.levels, interval.first + j, t0, t1 - t0)
        return OfStep(normals, interval.h)

    def advance(carry, j, interval, normals):
        y, solver_state, bad_time, meter_state = carry
        k = interval.local + j
        t0 = interval.base + interval.h * k.astype(dtype)
        t1 = interval.base + interval.h * (k + 1).astype(dtype)
        terms = method.terms(path(interval, j, normals, t0, t1), y)
        y, _, _, solver_state, _ = solver.step(terms, t0, t1, y, None, solver_state, False)
        found = jnp.isfinite(bad_time) | proper(y, y0)
        done = (interval.first + j + 1 - times.first[0]).astype(float) / times.total
        meter_state = meter.step(meter_state, jax.lax.stop_gradient(done))
        return y, solver_state, jnp.where(found, bad_time, t1), meter_state

    def start(y, interval):
        t0, t1 = interval.base, interval.base + interval.h
        first = path(interval, 0, None, t0, t1)
        if keyed is not None and not method.parted:
            first = OnRequest(keyed, interval.first, interval.h)
        return solver.init(method.terms(first, y), t0, t1, y, None)

    def interval(carry, xs_normals):
        xs, normals = xs_normals
        y, solver_state, *rest = carry
        if not times.uniform and jax.tree.leaves(solver_state):
            solver_state = jax.lax.cond(xs.fresh, start, lambda *_: solver_state, y, xs)
        carry = (y, solver_state, *rest)

        def step(carry, j_normals):
            j, normals = j_normals
            if not times.ragged:
                return advance(carry, j, xs, normals), None
            # The number of steps differs between intervals: the surplus is skipped, not taken.
            moved = lambda c: advance(c, j, xs, normals)  # noqa: E731
            return jax.lax.cond(j < xs.count, moved, lambda c: c, carry), None

        def draw_steps(j):
            if keyed is None or method.parted or not times.ragged:
                return draw(xs.first + j)
            nothing = lambda i, keyed=keyed: keyed.nothing(i)  # noqa: E731
            return jax.lax.cond(j[0] < xs.count, draw, nothing, xs.first + j)

        if longest == 1:
            carry = advance(carry, jnp.zeros((), jnp.int32), xs, normals)
        else:
            js = jnp.arange(longest, dtype=jnp.int32)
            carry, _ = scan(step, carry, js, remat, draw_steps, block)
        return carry, observe(carry[0])

    def draw(index):
        return None if keyed is None or method.parted else keyed.normals(index)

    xs = _Interval(*(getattr(times, name) for name in _Interval._fields))
    initially = jnp.where(finite(y0), jnp.inf, 0).astype(dtype)
    at_start = observe(y0)
    carry = (y0, start(y0, jax.tree.map(lambda a: a[0], xs)), initially, meter.init())
    # Few intervals keep their own carries; many are worth a second level of chunks.
    outer = remat if longest == 1 or (remat == "sqrt" and xs.count.size > 16) else "none"
    draw_interval = (lambda xs: draw(xs.first)) if longest == 1 else (lambda xs: None)
    carry, ys = scan(interval, carry, xs, outer, draw_interval, block)
    final, _, bad_time, meter_state = carry
    meter.close(meter_state)
    whole = jnp.isfinite(bad_time) | proper(final, y0, whole=True)
    bad_time = jnp.where(whole, bad_time, times.times[-1])
    ys = jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), at_start, ys)
    return Run(ys, final, bad_time, times.total)


class _Interval(NamedTuple):
    """One interval of a schedule, or all of them stacked."""

    base: Array
    local: Array
    h: Array
    count: Array
    first: Array
    fresh: Array

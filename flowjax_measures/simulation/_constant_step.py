"""Constant steps: a scan over a diffrax solver's own `step`, counted in integers."""

import dataclasses
import functools
import math
from collections.abc import Callable

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ._terms import Problem, Retracted, StepKeyed, scaled, terms


def plan(ts: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps in each interval of `ts`, and the index of its first step counted from time 0.

    An interval that `dt` does not divide takes the next larger number of equal steps.
    """
    spans = np.diff(ts)
    ratio = spans / dt
    counts = np.maximum(
        np.where(
            abs(ratio - np.round(ratio)) < 1e-4 * np.maximum(ratio, 1),
            np.round(ratio),
            np.ceil(ratio),
        ),
        1,
    )
    counts = counts.astype(np.int64)
    first = round(float(ts[0]) / dt) + np.concatenate([[0], np.cumsum(counts)[:-1]])
    return counts, first


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
    """What the constant-step engine returns."""

    ys: PyTree
    final: PyTree
    bad_time: Array
    steps: int


def run(
    problem: Problem,
    solver: diffrax.AbstractSolver,
    y0: PyTree,
    ts: np.ndarray,
    dt: float,
    path: StepKeyed | None,
    observe: Callable[[PyTree], PyTree],
    remat: str,
    meter: diffrax.AbstractProgressMeter,
) -> Run:
    """Steps from ts[0] to ts[-1] and observes at every ts.

    `bad_time` is the end of the first step whose state is not finite, +inf if there is none.
    """
    dtype = jnp.result_type(*jax.tree.leaves(y0))
    counts, first = plan(ts, dt)
    start = int(first[0])
    longest, ragged = int(counts.max()), bool(counts.min() != counts.max())
    if getattr(solver, "scan_kind", "none") is None:
        # The loop over stages that can be differentiated in both modes.
        solver = eqx.tree_at(lambda s: s.scan_kind, solver, "bounded", is_leaf=lambda a: a is None)
    solver = Retracted(solver, problem)

    block = longest if path is None else path.block()
    if path is not None and isinstance(path.offset, int):
        starts = first[:1] if longest == 1 else first
        even = remat != "recursive" and not np.any((starts + path.offset) % 2)
        path = dataclasses.replace(path, even=even)

    def draw(index):
        return None if path is None else path.normals(index)

    def advance(carry, j, interval, normals):
        t_start, h, _, _ = interval
        y, solver_state, bad_time = carry
        t0 = t_start + h * j.astype(dtype)
        t1 = t_start + h * (j + 1).astype(dtype)
        walk = None if path is None else (lambda *_: scaled(normals, h))
        step_terms = terms(problem, solver, walk)
        y, _, _, solver_state, _ = solver.step(step_terms, t0, t1, y, None, solver_state, False)
        found = jnp.isfinite(bad_time) | finite(y)
        return y, solver_state, jnp.where(found, bad_time, t1)

    def interval(carry, xs_normals):
        (y, bad_time, meter_state), (xs, normals) = carry, xs_normals
        t_start, h, first, count = xs
        path0 = None if path is None else (lambda *_, path=path: path.increment(first, h))
        solver_state = solver.init(terms(problem, solver, path0), t_start, t_start + h, y, None)

        def step(carry, j_normals):
            j, normals = j_normals
            if not ragged:
                return advance(carry, j, xs, normals), None
            # The number of steps differs between intervals: the surplus is skipped, not taken.
            moved = lambda c: advance(c, j, xs, normals)  # noqa: E731
            return jax.lax.cond(j < count, moved, lambda c: c, carry), None

        def draw_steps(j):
            if path is None or not ragged:
                return draw(first + j)
            return jax.lax.cond(j[0] < count, draw, lambda i, path=path: path.nothing(i), first + j)

        carry = (y, solver_state, bad_time)
        if longest == 1:
            y, _, bad_time = advance(carry, jnp.zeros((), jnp.int32), xs, normals)
        else:
            js = jnp.arange(longest, dtype=jnp.int32)
            (y, _, bad_time), _ = scan(step, carry, js, remat, draw_steps, block)
        progress = (first + count - start) / int(counts.sum())
        meter_state = meter.step(meter_state, jax.lax.stop_gradient(progress))
        return (y, bad_time, meter_state), observe(y)

    initially = jnp.where(finite(y0), jnp.inf, ts[0]).astype(dtype)
    xs = (
        jnp.asarray(ts[:-1], dtype),
        jnp.asarray(np.diff(ts) / counts, dtype),
        jnp.asarray(first, jnp.int32),
        jnp.asarray(counts, jnp.int32),
    )
    at_start = observe(y0)
    # Few intervals keep their own carries; many are worth a second level of chunks.
    outer = remat if longest == 1 or (remat == "sqrt" and counts.size > 16) else "none"
    carry = (y0, initially, meter.init())
    draw_interval = (lambda xs: draw(xs[2])) if longest == 1 else (lambda xs: None)
    (final, bad_time, meter_state), ys = scan(interval, carry, xs, outer, draw_interval, block)
    meter.close(meter_state)
    ys = jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), at_start, ys)
    return Run(ys, final, bad_time, int(counts.sum()))


def finite(y: PyTree) -> Array:
    """Whether every leaf is free of NaN and inf."""
    # x·0 is 0 or NaN, so one sum decides and no finite sum can overflow.
    sums = [jnp.sum(jax.lax.stop_gradient(a) * 0) for a in jax.tree.leaves(y)]
    return jnp.isfinite(sum(sums[1:], sums[0]))

"""Which steps a run takes: every interval of `ts` in equal steps, counted in integers.

Times are relative to ts[0]: in float32 a second of Unix time has no room for a step.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import ArrayLike

# Numbers of steps are taken modulo this, which keeps their parity and fits 32 bits.
_WRAP = 2**31


class Schedule(eqx.Module):
    """The steps of a run.

    Intervals whose steps are equal form a group: times are counted from its base in integers, so
    that the same steps have the same times, to the bit, however often a run is observed.

    Arrays, of NumPy before the run is compiled:

    - `origin`: ts[0]; `times`: ts − ts[0], shape (T,).
    - of each interval, shape (T − 1,): `base`, the time at which its group starts; `local`, the
      steps since then; `h`, the length of a step; `count`, their number; `first`, the index of the
      first one counted from time 0; `fresh`, whether it starts a group.
    - static: `longest` and `total` numbers of steps; `ragged`, whether numbers differ; `uniform`,
      whether there is one group; `even`, whether every interval starts at an even index.
    """

    origin: Any
    times: Any
    base: Any
    local: Any
    h: Any
    count: Any
    first: Any
    fresh: Any
    longest: int = eqx.field(static=True)
    total: int = eqx.field(static=True)
    ragged: bool = eqx.field(static=True)
    uniform: bool = eqx.field(static=True)
    even: bool = eqx.field(static=True)


def count_steps(ts: np.ndarray, dt: float) -> np.ndarray:
    """Steps in each interval; one that `dt` does not divide takes the next larger number."""
    ratio = np.diff(ts) / dt
    whole = np.round(ratio)
    counts = np.where(abs(ratio - whole) < 1e-4 * np.maximum(ratio, 1), whole, np.ceil(ratio))
    return np.maximum(counts, 1).astype(np.int64)


def schedule(ts: Any, counts: np.ndarray, dtype: Any, dt: float | None = None) -> Schedule:
    """The schedule of known times, or of traced ones with known numbers of steps.

    Known times carry the round-off of the type in which they were given.
    """
    if isinstance(ts, Tracer):
        return _traced(ts, counts, dtype)
    ts = np.asarray(ts)
    return _known(ts.tobytes(), ts.dtype, counts.tobytes(), np.dtype(dtype), dt)


@functools.lru_cache(maxsize=256)
def _known(known: bytes, kind: np.dtype, steps: bytes, dtype: np.dtype, dt: float | None):
    ts, counts = np.frombuffer(known, kind), np.frombuffer(steps, np.int64)
    eps = np.finfo(ts.dtype).eps if np.issubdtype(ts.dtype, np.floating) else np.finfo(float).eps
    ts = np.asarray(ts, np.float64)
    h = np.diff(ts) / counts
    slack = 1e-9 * h[:-1] + 8 * eps * np.abs(ts).max() / counts.clip(max=counts[:1])[:-1]
    fresh = np.concatenate([[True], np.abs(np.diff(h)) > slack])
    starts = np.flatnonzero(fresh)
    ends = np.append(starts[1:], counts.size)
    group = np.cumsum(fresh) - 1
    taken = np.concatenate([[0], np.cumsum(counts)])
    taken_by = taken[ends] - taken[starts]
    lengths = (ts[ends] - ts[starts]) / taken_by
    if dt is not None:
        # Where dt divides, it is the step: also of a run that is made longer.
        near = np.abs(lengths - dt) <= 1e-9 * dt + 8 * eps * np.abs(ts).max() / taken_by
        lengths = np.where(near, dt, lengths)
    before = round(float(ts[0]) / (h[0] if dt is None else dt))
    first = before + taken[:-1]
    real = lambda a: np.asarray(a, dtype)  # noqa: E731
    whole = lambda a: np.asarray(a, np.int32)  # noqa: E731
    return Schedule(
        real(ts[0]), real(ts - ts[0]), real((ts[starts] - ts[0])[group]),
        whole(taken[:-1] - taken[starts][group]), real(lengths[group]), whole(counts),
        whole(first % _WRAP), fresh,
        int(counts.max()), int(counts.sum()), bool(np.ptp(counts)), starts.size == 1,
        not np.any(first % 2),
    )  # fmt: skip


def _traced(ts: ArrayLike, counts: np.ndarray, dtype: Any) -> Schedule:
    ts = jnp.asarray(ts, dtype)
    h = jnp.diff(ts) / jnp.asarray(counts, dtype)
    taken = jnp.asarray(np.concatenate([[0], np.cumsum(counts)[:-1]]), jnp.int32)
    before = jnp.round(jax.lax.stop_gradient(ts[0] / h[0])).astype(jnp.int32)
    fresh = jnp.abs(jnp.diff(h)) > 1e-5 * h[:-1]
    return Schedule(
        ts[0], ts - ts[0], ts[:-1] - ts[0], jnp.zeros(counts.size, jnp.int32), h,
        jnp.asarray(counts, jnp.int32), before + taken, jnp.concatenate([jnp.array([True]), fresh]),
        int(counts.max()), int(counts.sum()), bool(np.ptp(counts)), counts.size == 1, False,
    )  # fmt: skip

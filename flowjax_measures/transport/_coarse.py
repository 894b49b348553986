"""A coarser problem of transport: atoms whose costs are alike become one."""

import numpy as np
from jaxtyping import Float, Int

from ._host_pairs import Rows, chunks

# How many atoms become one.
_TOGETHER = 4
# Atoms whose costs tell who is alike, and the coordinates that are made of them.
_LANDMARKS, _COORDINATES = 24, 12


def coarser(rows: Rows, a: Float[np.ndarray, " n"], b: Float[np.ndarray, " m"]):
    """Some atoms p, q of both measures, with the masses of those that each stands for."""
    n, m = len(a), len(b)
    few = [np.arange(min(k, _LANDMARKS)) * k // min(k, _LANDMARKS) for k in (n, m)]
    p, coarse_a = _alike(np.concatenate([rows(k)[:, few[1]] for k in chunks(n)]), a)
    q, coarse_b = _alike(rows(few[0]).T, b)
    return p, q, coarse_a, coarse_b


def extended(rows: Rows, q: Int[np.ndarray, " k"], g: Float[np.ndarray, " k"], n: int, m: int):
    """The potentials of all atoms that those of the atoms q leave."""
    f, wide = np.empty(n), np.full(m, np.inf)
    for k in chunks(n):
        table = rows(k)
        f[k] = _known(np.min(table[:, q] - g, axis=1))
        wide = np.minimum(wide, np.min(table - f[k, None], axis=0))
    return f, _known(wide)


def _known(potential):
    """Who has no partner within reach has none."""
    return np.where(np.isfinite(potential), potential, 0)


def _alike(costs: Float[np.ndarray, "n l"], a):
    """Some atoms, each with the mass of those whose costs are its own up to a constant."""
    finite = np.isfinite(costs)
    costs = np.where(finite, costs, 2 * np.max(costs, where=finite, initial=0.0))
    x = costs - np.mean(costs, axis=1, keepdims=True)
    x = x - np.mean(x, axis=0)
    x = x @ np.linalg.eigh(x.T @ x)[1][:, -_COORDINATES:]
    n, label, count = len(a), np.zeros(len(a), int), 1
    total = lambda values: np.stack(  # noqa: E731
        [np.bincount(label, column, count) for column in values.T], axis=1
    )
    while n > 1.01 * _TOGETHER * count:
        # Each is halved where it is longest.
        size = np.bincount(label, minlength=count)
        mean = total(x) / size[:, None]
        longest = np.argmax(total((x - mean[label]) ** 2), axis=1)
        order = np.lexsort((x[np.arange(n), longest[label]], label))
        rank = np.empty(n, int)
        rank[order] = np.arange(n) - np.repeat(np.cumsum(size) - size, size)
        label, count = 2 * label + (2 * rank >= size[label]), 2 * count
    mass = np.bincount(label, a, count)
    mean = total(a[:, None] * x) / mass[:, None]
    order = np.lexsort((np.sum((x - mean[label]) ** 2, axis=1), label))
    size = np.bincount(label, minlength=count)
    return order[np.cumsum(size) - size], mass

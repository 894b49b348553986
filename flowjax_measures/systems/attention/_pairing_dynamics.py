r"""The last phase of attention on the sphere: clusters merge pair by pair (Bruno, Pasqualotto and
Agazzi).

Masses α_j at x_j attract each other by exponentially little, and the closest pair wins by an
exponential factor. In its own time s, with dt = e^{β(1 − ⟨x_i, x_j⟩)} ds, it moves alone,

    x_i' = (α_j/α_i) P_{x_i} x_j,   x_j' = (α_i/α_j) P_{x_j} x_i,

along the geodesic between them, so that u = ⟨x_i, x_j⟩ has u' = (α_j/α_i + α_i/α_j)(1 − u²), and
they merge. At finite β the speeds have the denominators α_i + α_j E and α_j + α_i E, with
E = e^{−β(1 − u)}, which the limit lacks: they move the meeting point by O(β^{−1/2}), and with it
the logarithm of the next time by O(β^{1/2}). So they are kept here.
"""

from typing import NamedTuple

import numpy as np

from ...measures import Particles


class Merges(NamedTuple):
    """The merges in order: `pairs` (m − 1, 2), indices into the initial clusters, of which the
    first stands for the union; `times` (m − 1,) since the start; `log_times`; `points`
    (m − 1, d), where they met."""

    pairs: np.ndarray
    times: np.ndarray
    log_times: np.ndarray
    points: np.ndarray


def pairing_dynamics(mu: Particles, beta: float, radius: float = 1e-3) -> Merges:
    r"""The sequence of merges of clusters at the atoms of `mu`, in the time of the tokens.

    A pair at the angle φ₀ merges after

        t = ∫ dφ / (sin φ [α_j E/(α_i + α_j E) + α_i E/(α_j + α_i E)]),   E = e^{−β(1 − cos φ)},

    from φ = `radius` to φ₀: to leading order log t = β(1 − cos φ₀). The others do not move
    meanwhile. The clusters are few: this runs in NumPy, in float64.

    **Arguments:** `mu`: particles on the sphere, their masses the α; `beta`: β > 0; `radius`: the
    angle at which two clusters count as one.

    **Returns:** `Merges`.
    """
    x = np.array(mu.x, float)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    mass = np.exp(np.asarray(mu.log_weights(), float))
    alive = list(range(len(x)))
    pairs, log_times, points = [], [], []
    elapsed = -np.inf
    while len(alive) > 1:
        gram = x[alive] @ x[alive].T - 4 * np.eye(len(alive))
        a, b = np.unravel_index(np.argmax(gram), gram.shape)
        i, j = sorted((alive[a], alive[b]))
        angle = np.arccos(np.clip(x[i] @ x[j], -1, 1))
        log_duration, way = _approach(angle, radius, beta, mass[i], mass[j])
        towards = x[j] - np.cos(angle) * x[i]
        towards = towards / max(np.linalg.norm(towards), np.finfo(float).tiny)
        x[i] = np.cos(way) * x[i] + np.sin(way) * towards
        mass[i] += mass[j]
        alive.remove(j)
        elapsed = np.logaddexp(elapsed, log_duration)
        pairs.append((i, j))
        log_times.append(elapsed)
        points.append(x[i].copy())
    shape = (len(points), x.shape[1])
    return Merges(
        np.array(pairs, int).reshape(-1, 2),
        np.exp(log_times),
        np.array(log_times),
        np.array(points).reshape(shape),
    )


def _approach(angle: float, radius: float, beta: float, a: float, b: float) -> tuple[float, float]:
    """The logarithm of the time until two masses are at `radius`, and how far the first goes."""
    if angle <= radius:
        return -np.inf, angle * b / (a + b)
    # Gauss–Legendre in y = log tan(φ/2): dφ = sin φ dy and 1 − cos φ = 1 + tanh y.
    low, high = np.log(np.tan(radius / 2)), np.log(np.tan(min(angle, np.pi - 1e-12) / 2))
    nodes, weights = np.polynomial.legendre.leggauss(400)
    y, weights = (high + low) / 2 + (high - low) / 2 * nodes, weights * (high - low) / 2
    pull = np.exp(-beta * (1 + np.tanh(y)))
    first, second = b / (a + b * pull), a / (b + a * pull)
    exponent = beta * (1 + np.tanh(y)) - np.log(first + second) + np.log(weights)
    top = exponent.max()
    way = (weights / np.cosh(y) * first / (first + second)).sum()
    # Below the radius both go to their centre of mass.
    return float(top + np.log(np.exp(exponent - top).sum())), way + radius * b / (a + b)

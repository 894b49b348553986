"""Which parameters the data identify: the Hessian of a loss in relative change.

Flat directions are those whose curvature is below `threshold` times the largest (or times the
first loss, when all are flat). Central differences of the gradient see no finer than the square
of their step.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..inference._parameters import Parameters, scaled


class Spectrum(NamedTuple):
    """Eigenvalues in increasing order, eigenvectors as columns, and the flat threshold."""

    values: Float[np.ndarray, " p"]
    vectors: Float[np.ndarray, "p p"]
    threshold: float


def spectrum(
    gradient: Callable[[list[Array]], list[Array]],
    parameters: Parameters,
    best: list[Array],
    start: list[Array],
    smooth: bool,
) -> Spectrum:
    """The Hessian by central differences of a gradient in unconstrained variables.

    `smooth` is False where adaptive steps make the gradient rough at their tolerance.
    """
    count = sum(theta.size for theta in best)
    epsilon = max(float(jnp.finfo(theta.dtype).eps) for theta in best)
    step = epsilon**0.25 if smooth else max(1e-2, epsilon**0.25)
    free = scaled(parameters, best, start)
    dtype = jnp.result_type(*best)

    def slope(s: Array) -> np.ndarray:
        u, pull = jax.vjp(free, s)
        return np.asarray(pull(gradient(u))[0], np.float64)

    rows = []
    for i in range(count):
        s = jnp.zeros(count, dtype).at[i].set(step)
        rows.append((slope(s) - slope(-s)) / (2 * step))
    hessian = np.stack(rows)
    if not np.all(np.isfinite(hessian)):
        return Spectrum(np.full(count, np.nan), np.eye(count), np.nan)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    return Spectrum(values, vectors, max(1e-6, step**2))


def standard_errors(found: Spectrum, count: float | None) -> Array | None:
    """Errors of relative change from the curvature of −log L, which is `count` times the loss."""
    if count is None:
        return None
    seen = found.values > found.threshold * np.max(np.abs(found.values), initial=0)
    variances = np.where(seen, 1 / np.where(seen, count * found.values, 1), np.inf)
    squares = np.where(found.vectors**2 > 1e-12, found.vectors**2, 0)
    with np.errstate(invalid="ignore"):  # 0 · ∞: a direction without this number.
        parts = np.where(squares > 0, squares * variances, 0)
    return jnp.asarray(np.sqrt(parts.sum(axis=1)))


def describe(found: Spectrum, names: list[str], first: float, last: float) -> tuple[str, str]:
    """What is flat, and what is below the loss that remains; and where it is no
    minimum; empty where nothing is."""
    if not np.all(np.isfinite(found.values)):
        return "", "The Hessian at the optimum is not finite."
    scale = max(float(np.max(np.abs(found.values))), first, np.finfo(float).tiny)
    flat = np.abs(found.values) < found.threshold * scale
    weak = ~flat & (found.values > 0) & (found.values / 2 < last)
    fall = ~flat & (found.values < 0)

    def list_of(mask):
        return "; ".join(_direction(v, names) for v in found.vectors.T[mask])

    gone = f"Not identified by these data: {list_of(flat)}." if flat.any() else ""
    faint = (
        f"Not identified beyond the loss that remains ({last:.3g}), which is more than a change by "
        f"a factor of e would add: {list_of(weak)}."
        if weak.any()
        else ""
    )
    lower = f"Not a minimum: the loss curves down along {list_of(fall)}." if fall.any() else ""
    return gone, " ".join(filter(None, (faint, lower)))


def _direction(vector: np.ndarray, names: list[str]) -> str:
    order = np.argsort(-abs(vector))
    main = [i for i in order if abs(vector[i]) > 0.2][:4]
    if len(main) == 1:
        return f"`{names[main[0]]}`"
    return " ".join(f"{vector[i]:+.2f} log `{names[i]}`" for i in main)

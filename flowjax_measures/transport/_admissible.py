r"""What convex problems of densities need of their arguments, looked at before they are solved.

M(w r + (1 − w) s) ≥ w M(r) + (1 − w) M(s),   f(w r + (1 − w) s) ≤ w f(r) + (1 − w) f(s)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..measures import GridDensity
from ..measures._base import concrete


def check_density(name: str, mu: GridDensity) -> None:
    """Refuses what came out of a program and is no density."""
    rho = np.asarray(mu.rho) if concrete(mu.rho) else np.ones(1)
    if not np.all(np.isfinite(rho)) or rho.min() < 0 or rho.max() <= 0:
        raise ValueError(
            f"`{name}` holds NaN, infinite or negative densities, or no mass at all; give "
            "densities ≥ 0."
        )


def check_field(name: str, field: Callable[[Any], Any] | None, points: Any) -> None:
    """Refuses a function of a point that is not a finite number at each of the points."""
    if field is None:
        return
    values = jax.vmap(field)(points)
    _check_numbers(name, values, len(points), "point")
    if concrete(values) and not np.all(np.isfinite(np.asarray(values))):
        at = points[int(np.argmin(np.isfinite(np.asarray(values))))]
        raise ValueError(
            f"`{name}` is not finite at the point {np.asarray(at)}; give a finite number at each "
            "cell that is open, and an `obstacle` where no mass may be."
        )


def check_mobility(
    mobility: Callable[[Any], Any], bound: Any, ends: dict[str, GridDensity]
) -> None:
    """Refuses a mobility that is not concave, or below 0 at the densities of the ends."""
    seen = _table("mobility", mobility, bound, ends)
    if seen is None:
        return
    rho, values, held = seen
    low = np.min(values[:held])
    if low < -_round_off(values)[held - 1]:
        raise ValueError(
            f"`mobility` is {low:.3g} at the density {rho[np.argmin(values[:held])]:.3g}; give a "
            "function ≥ 0 up to the greatest density of the ends."
        )
    _check_bend("mobility", "concave", rho, -values)


def check_congestion(
    congestion: Callable[[Any], Any] | None, bound: Any, ends: dict[str, GridDensity]
) -> None:
    """Refuses a running cost of the density that is not convex."""
    if congestion is None:
        return
    seen = _table("congestion", congestion, bound, ends)
    if seen is not None:
        _check_bend("congestion", "convex", *seen[:2])


def _table(name: str, function, bound, ends: dict[str, GridDensity]):
    """Densities up to all mass in one cell, or the bound; values; how many of them the ends have.

    From where it is not finite on a function is not looked at: it may be a barrier.
    """
    if not concrete(bound, [m.rho for m in ends.values()]):
        return None
    grid = next(iter(ends.values())).rho
    most = max(float(m.rho.max()) for m in ends.values())
    top = max(most, float(jnp.sum(grid) if bound is None else bound))
    small = top / 2.0 ** np.arange(6, 24)
    rho = np.concatenate([np.linspace(0, top, 33), np.linspace(0, most, 9), small])
    rho = np.unique(rho.astype(grid.dtype))
    values = jax.vmap(function)(jnp.asarray(rho))
    _check_numbers(name, values, rho.size, "density")
    if not concrete(values):
        return None
    values, held = np.asarray(values, np.float64), int(np.sum(rho <= most * (1 + 1e-6)))
    finite = int(np.argmin(np.append(np.isfinite(values), False)))
    if finite < held:
        raise ValueError(
            f"`{name}` is {values[finite]} at the density {rho[finite]:.3g}; give a function that "
            "is finite up to the greatest density of the ends."
        )
    return rho[:finite].astype(np.float64), values[:finite], held


def _round_off(values: np.ndarray) -> np.ndarray:
    """Of values in single precision, relative to the greatest before them."""
    return 1e-6 * np.maximum.accumulate(np.abs(values))


def _check_bend(name: str, wanted: str, rho: np.ndarray, values: np.ndarray) -> None:
    """Refuses values above the chord of their neighbours."""
    share = (rho[1:-1] - rho[:-2]) / (rho[2:] - rho[:-2])
    above = values[1:-1] - (1 - share) * values[:-2] - share * values[2:]
    wrong = above > _round_off(values)[2:]
    if np.any(wrong):
        at = int(np.argmax(wrong))
        raise ValueError(
            f"`{name}` is not {wanted} between the densities {rho[at]:.3g} and {rho[at + 2]:.3g}; "
            f"the problem has a unique value for {wanted} functions only: give one."
        )


def _check_numbers(name: str, values: Any, count: int, what: str) -> None:
    if getattr(values, "shape", None) != (count,):
        raise ValueError(
            f"`{name}` gives {jax.tree.map(lambda v: v.shape[1:], values)} for one {what}; give "
            "one number."
        )

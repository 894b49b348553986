"""Numbers that a function needs to be finite and positive."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def check_positive(name: str, value: Any, least: float | int = 0) -> None:
    """Raises where a concrete number is NaN, infinite, or not above 0; `least`: not below it."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
        return
    number = np.asarray(value)
    bad = number.ndim or number.dtype.kind not in "iufV"
    if bad or not np.isfinite(number) or not (number >= least if least else number > 0):
        bound = f"a finite number ≥ {least:g}" if least else "a finite number > 0"
        raise ValueError(f"`{name}` is {value}; give {bound}.")


def within(name: str, t: Any, low: Any, high: Any) -> Any:
    """A time between two others, up to round-off: else refused, and NaN where it is traced."""
    slack = 1e-6 * (high - low)
    inside = (t >= low - slack) & (t <= high + slack)
    if isinstance(inside, Tracer):
        return jnp.where(inside, t, jnp.nan)
    if not np.all(inside):
        raise ValueError(f"`{name}` is {t}; give a time from {low:g} to {high:g}.")
    return t


def check_key(key: Any, name: str = "key") -> None:
    """Raises where there is no key of JAX, new or old."""
    kind = getattr(key, "dtype", np.dtype(object))
    if not any(jnp.issubdtype(kind, known) for known in (jax.dtypes.prng_key, np.uint32)):
        raise ValueError(f"`{name}` is {key!r}; give a JAX key, jax.random.key(0).")

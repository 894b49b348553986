"""Numbers that a function needs to be finite and positive."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def check_positive(name: str, value: Any, least: float | int = 0) -> None:
    """Raises where a concrete number is NaN, infinite, or not above 0; `least`: not below it."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
        return
    number = np.asarray(value)
    high_enough = number >= least if least else number > 0
    if number.ndim or not (np.isfinite(number) and high_enough):
        bound = f"a finite number ≥ {least:g}" if least else "a finite number > 0"
        raise ValueError(f"`{name}` is {value}; give {bound}.")

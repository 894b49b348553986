"""Interleaved timing: shared machines drift, so only ratios within one run mean something."""

import time
from collections.abc import Callable

import jax
import numpy as np


def interleaved(functions: dict[str, Callable[[], object]], repeats: int = 15) -> dict[str, float]:
    """Median CPU seconds of each function, called in turn."""
    for function in functions.values():
        jax.block_until_ready(function())
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            jax.block_until_ready(function())
            times[name].append(time.process_time() - start)
    return {name: float(np.median(values)) for name, values in times.items()}

"""Bytes: what a device has left, what arrays would take."""

import math
import os
from pathlib import Path

import jax
from jaxtyping import PyTree

# The part of the memory that is free which one program may take.
_SHARE = 0.8


def size(tree: PyTree) -> int:
    """The bytes of a pytree of arrays or of their shapes."""
    return sum(math.prod(a.shape) * a.dtype.itemsize for a in jax.tree.leaves(tree))


def free() -> float:
    """Bytes that a program may take on one device; +inf where nothing tells."""
    device = jax.local_devices()[0]
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return _SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    # Devices of one host share its memory.
    return _SHARE * _host() / jax.local_device_count()


def _host() -> float:
    """Bytes of the host that are free or hold nothing but copies of files."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * float(line.split()[1])
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return math.inf


def text(count: float) -> str:
    """A number of bytes, to be read."""
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"

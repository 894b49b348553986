"""Runs as labelled data sets of xarray."""

from importlib import import_module
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ..measures import GridDensity, Particles
from ..measures._base import is_measure


def optional(name: str) -> Any:
    """A module of the extra `data`."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"This needs {name}: pip install 'flowjax_measures[data]'.") from error


def names(tree: PyTree, is_leaf=None) -> dict[str, Any]:
    """The leaves of a tree by the keys on their way, joined by dots."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return {jax.tree_util.keystr(p, simple=True, separator="."): leaf for p, leaf in leaves}


def dataset(ts: Any, ys: PyTree, time: str, particle: str) -> Any:
    """A data set of all that a run holds, over `time` and, for particles, `particle`."""
    data, coords = {}, {time: np.asarray(ts)}

    def add(name: str, array: Any, axes: tuple[str, ...]) -> None:
        array = np.asarray(array)
        rest = range(array.ndim - len(axes))
        data[name] = ((*axes, *(f"{name}_{i}" for i in rest)), array)

    for prefix, node in names(ys, is_measure).items():
        if not is_measure(node):
            add(prefix or "value", node, (time,))
            continue
        axes = (time, particle) if isinstance(node, Particles) else (time,)
        if isinstance(node, Particles) and prefix:
            axes = (time, f"{prefix}.{particle}")  # Species may differ in number.
        for name, array in names({f: getattr(node, f) for f in node.flows}).items():
            name = ".".join(filter(None, (prefix, name)))
            add(name, array, axes)
            if isinstance(node, GridDensity):
                shape = node.rho.shape[1:]
                for i, (low, high, n) in enumerate(
                    zip(node.lower[0], node.upper[0], shape, strict=True)
                ):
                    cells = np.arange(n) + 0.5
                    coords[f"{name}_{i}"] = float(low) + cells * float(high - low) / n
    found = optional("xarray").Dataset(data, coords=coords)
    # ArviZ wants chains before draws.
    return found.transpose(particle, time, ...) if particle in found.dims else found

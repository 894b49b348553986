"""What interpolants and losses refuse, by name."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from ..._custom_types import FloatScalar
from ...measures import AbstractMeasure, Gaussian
from ...measures._base import concrete


def check_ends(source: AbstractMeasure, target: AbstractMeasure) -> None:
    """Raises where two laws have points of different shapes, or labels."""
    here, there = _shape("source", source), _shape("target", target)
    if here is not None and there is not None and here != there:
        raise ValueError(
            f"`target` has points of shape {there} and `source` of {here}; give laws on one space."
        )


def _shape(name: str, measure: Any) -> Any:
    """Of a point; `None` where points are no arrays."""
    if isinstance(measure, Gaussian):
        return measure.m.shape
    if not isinstance(measure, AbstractMeasure):
        return None
    atoms = jax.eval_shape(measure.atoms)[0]
    mixture = isinstance(atoms, tuple)
    if mixture and (len(atoms) != 2 or atoms[1].shape[1:] != 2 * atoms[0].shape[1:]):
        raise ValueError(
            f"`{name}` holds tuples that are no means and covariances; give Particles(points). "
            "Points with labels are the data of `conditional_flow_matching_loss`."
        )
    atoms = atoms[0] if mixture else atoms
    return atoms.shape[1:] if hasattr(atoms, "shape") else None


def check_cross(source: Gaussian, target: Gaussian, cross: Array) -> None:
    """Raises where a concrete matrix is no covariance of two Gaussians."""
    if not concrete(source, target, cross):
        return
    both = np.block([[source.cov, cross], [cross.T, target.cov]])
    least = np.linalg.eigvalsh(both)[0]
    # That of pairs that a flow has made is zero up to its steps.
    if least < -1e-4 * np.trace(both):
        raise ValueError(
            f"`coupling` is no covariance of these Gaussians: with theirs the lowest eigenvalue is "
            f"{least:.2g}."
        )


def check_takes(field: Callable, name: str, count: int) -> None:
    """Raises where a field doesn't take so many points."""
    try:
        signature = inspect.signature(field)
    except (TypeError, ValueError):
        return  # What Python can't look at.
    try:
        signature.bind(*range(count))
    except TypeError as error:
        wanted = {1: "(x)", 2: "(t, x)"}.get(count, "(t, x, c)")
        raise ValueError(
            f"`{name}` takes {signature}, and this loss calls it with {wanted}: {error}."
        ) from error


def check_range(name: str, value: FloatScalar | None, most: float) -> None:
    """Raises where a concrete number is not from 0 to `most`."""
    if value is not None and concrete(value) and not 0 <= float(value) <= most:
        raise ValueError(f"`{name}` is {value}; give a number from 0 to {most}.")

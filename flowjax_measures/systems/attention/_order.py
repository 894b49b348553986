"""Telling tokens apart: labels of points, and functions of pairs of labels."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from ..._custom_types import Point
from ...measures import AbstractMeasure, Particles, place


def paired(x: Point) -> bool:
    """Whether a point is a pair `(token, label)`; named tuples are points of their own."""
    return type(x) is tuple and len(x) == 2


def beside(x: Point, velocity: Any) -> Any:
    """The velocity of a point, a token or a pair whose label stays: real labels have velocity 0."""
    if not paired(x):
        return velocity
    return velocity, jnp.zeros_like(x[1]) if eqx.is_inexact_array(x[1]) else None


def numbered(name: str, label: Any) -> None:
    """That entries of an array can be taken by this label.

    **Raises:** `ValueError` for a real one.
    """
    if eqx.is_inexact_array(label):
        raise ValueError(
            f"`{name}` is an array, whose entries are numbered, and labels are real; give a "
            "function of two labels."
        )


def told_apart(x: Point, mu: AbstractMeasure) -> tuple[tuple[Any, Int[Array, ""]], Any]:
    """The point as a pair (token, label) in a measure of pairs, numbered where it had no labels."""
    if paired(x):
        return x, mu
    if not isinstance(mu, Particles):
        raise ValueError(
            f"This system tells its points apart, but a {type(mu).__name__} has no order. Run it "
            "from `Particles`."
        )
    return (x, place()), mu.numbered()

"""Telling tokens apart: labels of points, and functions of pairs of labels."""

from typing import Any

from jaxtyping import Array, Int

from ..._custom_types import Point
from ...measures import AbstractMeasure, Particles, place


def paired(x: Point) -> bool:
    """Whether a point is a pair `(token, label)`; named tuples are points of their own."""
    return type(x) is tuple and len(x) == 2


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

"""Telling tokens apart: labels of points, and functions of pairs of labels."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from ..._custom_types import Point
from ...measures import AbstractMeasure, Particles, place
from ...measures._base import replace

Pairwise = Array | Callable[[Any, Any], Any]
"""A number for each pair of labels: an array (n, n), or a function of (i, j)."""


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


def between(
    pairwise: Pairwise, i: Int[Array, ""], mu: Any, labelled: bool
) -> tuple[Any, Callable[[Point], Any]]:
    """The numbers of the pairs (i, ·): the measure that holds them, and how to read them there.

    A row of an array becomes one more leaf of the points, so that it is sliced with them: taking
    its entries one by one costs twenty times as much.
    """
    if callable(pairwise):
        return mu, lambda y: pairwise(i, y[1])
    row = jnp.asarray(pairwise)[i]
    row = row[mu.x[1]] if labelled else row
    place = len(mu.x)
    return replace(mu, x=(*mu.x, row)), lambda y: y[place]

r"""What two measures are compared on: the space they share, their atoms, and the cost of a pair.

    c(x, y) = d(x, y)^p,   d the geodesic distance of the measures' `space`

Everything that compares two measures comes through here, so that points of other dimensions, or of
another space, are refused by one sentence.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from .._custom_types import Point
from .._numerics import safe_power
from ..kernels._base import AbstractKernel
from ..kernels._radial import on_space
from ..measures import AbstractMeasure, Gaussian, GridDensity, Particles
from ..measures._base import concrete
from ..noise._noise import floating
from ..spaces import AbstractSpace, Euclidean, Phase, PhaseSpace, Product, Torus
from ..spaces._base import squared_distance
from ..spaces._product import is_flat


def shared_space(mu: AbstractMeasure, nu: AbstractMeasure) -> AbstractSpace:
    """The space of both measures.

    **Raises:** `ValueError` where their points differ in shape, or their spaces differ.
    """
    shapes = _shapes(mu), _shapes(nu)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"The points of `mu` and `nu` have the shapes {shapes[0]} and {shapes[1]}; measures "
            "are compared on one space, and their points have one shape."
        )
    one, two = space_of(mu), space_of(nu)
    if not _same(one, two):
        raise ValueError(
            f"`mu` lives on {one} and `nu` on {two}; give both the same `space`, that distances "
            "have one meaning."
        )
    return one


def space_of(mu: AbstractMeasure) -> AbstractSpace:
    """Where the points of a measure live; glued axes of a grid make a torus."""
    if isinstance(mu, GridDensity) and any(mu.periodic):
        lengths = mu.upper - mu.lower
        # An axis between walls has no period.
        return Torus(jnp.where(jnp.asarray(mu.periodic), lengths, jnp.inf))  # pyright: ignore
    space = getattr(mu, "space", Euclidean())
    if isinstance(space, PhaseSpace):
        if not isinstance(space.base, Euclidean | Torus):
            raise ValueError(
                f"The `space` is the tangent bundle of {space.base}, whose distance has no closed "
                "form; compare the positions alone, Particles(x.q, space=…)."
            )
        return Product(Phase(space.base, Euclidean()))
    return space


def on_measure(kernel: Any, mu: AbstractMeasure) -> Any:
    """The kernel with the distance of the space of `mu`; refused where it would ignore the space.

    A function of two points is the user's own, and is taken as it is.
    """
    return on_space(kernel, space_of(mu)) if isinstance(kernel, AbstractKernel) else kernel


def is_circle(space: AbstractSpace, mu: AbstractMeasure) -> bool:
    """Whether it is a torus of one dimension."""
    return isinstance(space, Torus) and _shapes(mu) == (1,)


def check_flat(name: str, *measures: AbstractMeasure) -> None:
    """Refuses measures on curved or closed spaces where only vectors are understood."""
    for mu in measures:
        if not is_flat(space_of(mu)):
            raise ValueError(
                f"`{name}` knows flat space only, and was given points on {space_of(mu)}; take "
                "`wasserstein` or `sinkhorn_divergence`, which know its distance."
            )


def check_vectors(name: str, mu: AbstractMeasure) -> None:
    """Refuses points that are trees where only vectors are understood."""
    points = points_of(mu)
    if not eqx.is_array(points):
        raise ValueError(
            f"`{name}` takes points that are vectors, and those of `mu` are "
            f"{jax.tree.structure(points)}; give the measure of ravelled points, "
            "Particles(jax.vmap(lambda x: ravel_pytree(x)[0])(mu.x), mu.log_w)."
        )


def points_of(mu: AbstractMeasure) -> PyTree:
    """The atoms, without making weights that are not asked for."""
    return mu.x if isinstance(mu, Particles) else mu.atoms()[0]


def flat(x: Any) -> Float[Array, " d"]:
    """The float leaves of a point, as one vector."""
    return ravel_pytree(floating(x))[0]


def located(mu: AbstractMeasure, space: AbstractSpace) -> tuple[PyTree, Float[Array, " n"]]:
    """The atoms, as vectors where the space is flat, and logarithms of their shares of the mass."""
    points, log_weights = mu.atoms()
    points = jax.vmap(flat)(points) if is_flat(space) else points
    return points, jax.nn.log_softmax(log_weights)


def square(space: AbstractSpace) -> Callable[[Point, Point], Any]:
    """d(x, y)² of two points as `located` gives them."""
    if is_flat(space):
        # By differences: expanding the square loses half of the digits.
        return lambda x, y: jnp.sum((x - y) ** 2)
    return lambda x, y: squared_distance(space, x, y)


def squares(space: AbstractSpace, x: PyTree, y: PyTree) -> Float[Array, "n m"]:
    """d(x_i, y_j)² of all pairs."""
    of = square(space)
    return jax.vmap(lambda p: jax.vmap(lambda q: of(p, q))(y))(x)


def powers(space: AbstractSpace, x: PyTree, y: PyTree, p: float | int) -> Float[Array, "n m"]:
    """d(x_i, y_j)^p of all pairs."""
    found = squares(space, x, y)
    return found if p == 2 else safe_power(found, p / 2)


def _shapes(mu: AbstractMeasure) -> Any:
    if isinstance(mu, Gaussian):
        return mu.m.shape
    if isinstance(mu, GridDensity):
        return (mu.rho.ndim,)
    return jax.tree.map(lambda a: a.shape[1:], points_of(mu))


def _same(one: AbstractSpace, two: AbstractSpace) -> bool:
    if one is two or (is_flat(one) and is_flat(two)):
        return True
    parts, others = jax.tree.leaves(one), jax.tree.leaves(two)
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False
    if not concrete(parts, others):
        return True
    return all(
        np.allclose(np.broadcast_arrays(a, b)[0], b) for a, b in zip(parts, others, strict=True)
    )

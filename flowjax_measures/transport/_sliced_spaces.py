r"""Sliced distances on spheres and tori: their slices are circles ([bonet2023]).

    SW_2² = mean over slices of W₂²(P_#μ, P_#ν) on the circle

On the sphere P brings a point to the nearest of a great circle, of length 2π. On the torus it is
x ↦ Σ_i k_i x_i / L_i modulo 1 for whole numbers k without a common divisor, on a circle of length
1/‖k/L‖: that of the distances of the torus between the level sets of P.
"""

import itertools
import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import FloatScalar
from .._numerics import jitted, safe_sqrt
from ..energies._ground import check_vectors, located
from ..energies._sliced import rule
from ..measures import AbstractMeasure
from ..measures._base import concrete
from ..spaces import AbstractSpace, Sphere, Torus
from ._circle import circle_power
from ._line import pieces

# The largest whole number in a slice of a torus, by its dimension; beyond, in two axes at once.
_WINDINGS = {1: 1, 2: 4, 3: 2}
_PLANES = 512


def sliced_by_circles(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    space: AbstractSpace,
    directions: Float[Array, "k *d"] | None,
    weights: Float[Array, " k"] | None,
) -> FloatScalar:
    """SW₂ on a sphere or a torus; other spaces are refused."""
    check_vectors("sliced_wasserstein", mu)
    dimension = mu.atoms()[0].shape[-1]
    if isinstance(space, Sphere):
        slices = _planes(dimension) if directions is None else _checked_planes(directions)
    elif isinstance(space, Torus):
        _check_closed(space)
        slices = _windings(dimension) if directions is None else _checked_windings(directions)
    else:
        raise ValueError(
            f"`sliced_wasserstein` knows flat space, spheres and tori, and was given points on "
            f"{space}; take `wasserstein` or `sinkhorn_divergence`, which know its distance."
        )
    shape = (dimension,) if isinstance(space, Torus) else (2, dimension)
    if slices.shape[1:] != shape:
        raise ValueError(
            f"`directions` has shape {slices.shape}; give ({', '.join(map(str, ('k', *shape)))})."
        )
    if weights is not None and (directions is None or weights.shape != slices.shape[:1]):
        raise ValueError(
            f"`weights` has shape {weights.shape}; give one for each of the `directions`."
        )
    return _root(mu, nu, space, slices, weights)


@jitted
def _root(mu, nu, space, slices, weights):
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    a, b = jnp.exp(log_a), jnp.exp(log_b)

    def power(one):
        one = jnp.asarray(one, x.dtype)
        coordinate, length = _on_sphere(one) if isinstance(space, Sphere) else _on_torus(space, one)
        here, there = (length * jax.vmap(coordinate)(points) for points in (x, y))
        return circle_power(pieces(here, a), pieces(there, b), length, 2)

    # One slice after the other: their sums over pairs of levels fit the cache.
    powers = jax.lax.map(power, slices)
    share = jnp.ones_like(powers) if weights is None else jnp.asarray(weights, powers.dtype)
    return safe_sqrt(jnp.vdot(share / jnp.sum(share), powers))


def _on_sphere(plane: Float[Array, "2 d"]):
    """The angle within a plane, in turns, and the length of its great circle."""
    one, two = plane
    one = one / jnp.linalg.norm(one)
    two = two - jnp.vdot(one, two) * one
    two = two / jnp.linalg.norm(two)
    angle = lambda x: jnp.arctan2(jnp.vdot(two, x), jnp.vdot(one, x)) / (2 * jnp.pi)  # noqa: E731
    return lambda x: _fraction(angle(x)), jnp.asarray(2 * jnp.pi, plane.dtype)


def _on_torus(space: Torus, winding: Float[Array, " d"]):
    """Turns along whole numbers of windings, and the length of one."""
    wave = winding / jnp.asarray(space.length, winding.dtype)
    return lambda x: _fraction(jnp.vdot(wave, x)), 1 / jnp.linalg.norm(wave)


def _fraction(turns):
    turns = turns - jnp.floor(turns)
    # Just below 0 it rounds to 1, which is 0.
    return jnp.where(turns >= 1, 0, turns)


@cache
def _planes(dimension: int) -> np.ndarray:
    """Planes of great circles: across a lattice on the half-sphere in space, else of draws."""
    if dimension == 2:
        return np.eye(2)[None]
    if dimension == 3:
        # The plane across a normal, by any two of its vectors.
        return np.stack([np.linalg.svd(normal[None])[2][1:] for normal in rule(3)])
    return np.random.default_rng(0).standard_normal((_PLANES, 2, dimension))


@cache
def _windings(dimension: int) -> np.ndarray:
    """Whole vectors without a common divisor, one of each pair ±k."""
    most = _WINDINGS.get(dimension, 1)
    if dimension in _WINDINGS:
        found = itertools.product(range(-most, most + 1), repeat=dimension)
    else:
        eye = np.eye(dimension, dtype=int)
        pairs = itertools.combinations(eye, 2)
        found = [*eye, *(one + sign * two for one, two in pairs for sign in (1, -1))]
    first = lambda k: next((i for i in k if i), 0)  # noqa: E731
    return np.array([k for k in found if first(k) > 0 and math.gcd(*map(int, k)) == 1], float)


def _checked_planes(directions: Float[Array, "k *d"]) -> Float[Array, "k *d"]:
    if directions.ndim != 3 or directions.shape[1] != 2:
        raise ValueError(
            f"`directions` has shape {directions.shape}; on a sphere give pairs of vectors that "
            "span the planes of great circles, shape (k, 2, d), as jax.random.normal draws them."
        )
    return directions


def _checked_windings(directions: Float[Array, "k *d"]) -> Float[Array, "k *d"]:
    if concrete(directions):
        known = np.asarray(directions)
        if np.any(known != np.round(known)) or not np.all(np.any(known != 0, axis=-1)):
            raise ValueError(
                "`directions` on a Torus are whole numbers, not all zero, with which alone a "
                "circle closes; give for example [[1, 0], [0, 1], [1, 1], [1, −1]], as floats."
            )
    return directions


def _check_closed(space: Torus) -> None:
    length = space.length
    if concrete(length) and not np.all(np.isfinite(np.asarray(length))):
        raise ValueError(
            f"The `space` is {space}, a cylinder, whose slices are no circles; take `wasserstein` "
            "or `sinkhorn_divergence`, which know its distance."
        )

"""What a search reads off its points: a measure, or a dict of two populations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._custom_types import Point
from ..measures._base import is_measure, replace
from ..noise._noise import floating
from ..spaces import Euclidean


def points_of(state: Any) -> PyTree:
    """The points of a measure, or of each of a dict of measures."""
    return jax.tree.map(lambda mu: mu.x, state, is_leaf=is_measure)


def moved(state: Any, x: PyTree) -> Any:
    """The state with other points."""
    if is_measure(state):
        return replace(state, x=x)
    return {name: replace(mu, x=x[name]) for name, mu in state.items()}


def flat(state: Any) -> Any:
    """The same points in flat space, where pairs of a place and a number can be summed over."""
    return jax.tree.map(lambda mu: replace(mu, space=Euclidean()), state, is_leaf=is_measure)


def one_of(state: Any) -> Any:
    """The measure, or the first of several populations, which have equal sizes and masses."""
    return state if is_measure(state) else state["min"]


def size_of(state: Any) -> int:
    return one_of(state).size()


def masses(state: Any) -> Float[Array, " n"] | None:
    """The normalised masses, `None` for equal ones."""
    log_w = one_of(state).log_w
    return None if log_w is None else jax.nn.softmax(log_w)


def mean_of(state: Any, place: PyTree) -> Point:
    """The weighted mean of the float leaves of places."""
    w = masses(state)
    if w is None:
        return jax.tree.map(lambda a: jnp.mean(a, axis=0), floating(place))
    return jax.tree.map(lambda a: jnp.tensordot(w.astype(a.dtype), a, axes=1), floating(place))


def rms(state: Any, away: PyTree) -> Float[Array, ""]:
    """The root mean square of X − c, in the leaf where it is largest."""
    w = masses(state)

    def square(a):
        if w is None:
            return jnp.mean(a**2)
        return jnp.vdot(w.astype(a.dtype), jnp.mean(a.reshape(a.shape[0], -1) ** 2, axis=1))

    return jnp.sqrt(jax.tree.reduce(jnp.maximum, jax.tree.map(square, away)))


@eqx.filter_jit
def spread_of(state: Any, place: PyTree) -> Float[Array, ""]:
    """The root mean square of X − E X, in the leaf where it is largest."""
    return rms(state, minus(place, mean_of(state, place)))


def minus(x: PyTree, c: PyTree) -> PyTree:
    return jax.tree.map(jnp.subtract, floating(x), floating(c))


def add(x: PyTree, v: PyTree) -> PyTree:
    """x + v; labels stay."""
    floats = floating(x)
    return eqx.combine(jax.tree.map(jnp.add, floats, floating(v)), x)


def projected(state: Any, x: PyTree, v: PyTree) -> PyTree:
    """Velocities made tangent to the space of a measure."""
    return jax.vmap(state.space.project)(x, v) if is_measure(state) else v


def beside(mask: Array, a: Array) -> Array:
    """A mask over the leading axis, of the rank of `a`."""
    return mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim))

r"""Noise as a returned object: a linear map from the Brownian motion that it eats.

    dX = σ(t, X, μ) dW + σ⁰(t, X, μ) dB,   W each point's own, B shared by all points.

Every noise here is for one point. `NoiseField` is the same law at all atoms of a measure.
"""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Float, PyTree

from .._custom_types import ATOMS, Point, PRNGKey, Velocity
from .._numerics._matrix import square_root


def floating(x: PyTree) -> PyTree:
    """The float leaves of a point, `None` in place of labels."""
    # equinox's `is_inexact_array_like` fails on tracers of jax 0.12.
    return eqx.filter(x, lambda a: eqx.is_inexact_array(a) or isinstance(a, float))


class AbstractNoise(eqx.Module):
    """A linear map dW ↦ σ dW at one point; noises add with `+`."""

    @abc.abstractmethod
    def brownian(self, x: Point) -> PyTree[jax.ShapeDtypeStruct]:
        """The shape of the Brownian increment that this noise eats at the point `x`."""

    @abc.abstractmethod
    def apply(self, x: Point, increment: PyTree[Array]) -> Velocity:
        """σ dW, of the structure of the float leaves of `x`."""

    @abc.abstractmethod
    def squared(self, x: Point) -> Float[Array, "d d"]:
        """σσᵀ, on the ravelled float leaves of `x`: what laws of Gaussians and grids see."""

    @property
    def shared(self) -> bool:
        """Whether all points feel the same Brownian motion."""
        return isinstance(self, Common | Cylindrical)

    def __add__(self, other: "AbstractNoise") -> "NoiseSum":
        return NoiseSum(parts(self) + parts(other))

    def matrix(self, x: Point) -> Float[Array, "d k"]:
        """The matrix σ of the map, on the ravelled float leaves of `x`."""
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), self.brownian(x))
        flat, unravel = ravel_pytree(zero)
        flow = lambda w: ravel_pytree(self.apply(x, unravel(w)))[0]  # noqa: E731
        dimension = ravel_pytree(floating(x))[0].size
        return (jax.jacrev if dimension < flat.size else jax.jacfwd)(flow)(flat)


def _like(x: Point) -> PyTree[jax.ShapeDtypeStruct]:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), a.dtype), floating(x))


class Isotropic(AbstractNoise):
    """σ dW = `scale` · dW, with W of the point's shape.

    !!! example

        `fm.Rates(-x, fm.Isotropic(0.1))`
    """

    scale: ArrayLike

    def brownian(self, x):
        return _like(x)

    def apply(self, x, increment):
        return jax.tree.map(lambda w: jnp.asarray(self.scale, w.dtype) * w, increment)

    def squared(self, x):
        flat = ravel_pytree(floating(x))[0]
        return jnp.asarray(self.scale, flat.dtype) ** 2 * jnp.eye(flat.size, dtype=flat.dtype)


class Diagonal(AbstractNoise):
    """σ dW = `scale` ∘ dW coordinate by coordinate; `scale` has the point's structure.

    !!! example

        `fm.Rates(-x, fm.Diagonal(jnp.abs(x)))`
    """

    scale: PyTree[ArrayLike]

    def brownian(self, x):
        return _like(x)

    def apply(self, x, increment):
        return jax.tree.map(lambda w, s: s * w, increment, floating(self.scale))

    def squared(self, x):
        return jnp.diag(ravel_pytree(floating(self.scale))[0] ** 2)


class Dense(AbstractNoise):
    """σ dW = `matrix` @ dW with a (d, k) matrix on the ravelled point and W in R^k.

    !!! example

        `fm.Rates(-x, fm.Dense(jnp.eye(2)))`
    """

    sigma: Float[Array, "d k"]

    def brownian(self, x):
        return jax.ShapeDtypeStruct(jnp.shape(self.sigma)[-1:], jnp.result_type(self.sigma))

    def apply(self, x, increment):
        return ravel_pytree(floating(x))[1](self.sigma @ increment)

    def squared(self, x):
        return self.sigma @ self.sigma.T


class Covariance(AbstractNoise):
    """σ dW = C^{1/2} dW with the symmetric root of a (d, d) covariance C = `rate` a unit of time.

    For laws known by σσᵀ alone. Gaussians and grids take no root at all.

    !!! example

        `fm.Rates(-x, fm.Covariance(jnp.eye(2)))`
    """

    rate: Float[Array, "d d"]

    def brownian(self, x):
        return jax.ShapeDtypeStruct(self.rate.shape[:1], self.rate.dtype)

    def apply(self, x, increment):
        return ravel_pytree(floating(x))[1](square_root(self.rate) @ increment)

    def squared(self, x):
        return self.rate


class Common(AbstractNoise):
    """The same Brownian motion B for all points: `Common(noise)` shares the noise's own.

    `Common(matrix)` of shape (d, k) is `Common(Dense(matrix))`, `Common(scalar)` is
    `Common(Isotropic(scalar))`.

    !!! example

        `fm.Rates(-x, fm.Common(0.1 * jnp.eye(2)))`
    """

    noise: AbstractNoise

    def __init__(self, noise: AbstractNoise | ArrayLike):
        if not isinstance(noise, AbstractNoise):
            ndim = jnp.ndim(noise)
            if ndim not in (0, 2):
                raise ValueError(
                    f"`Common` got an array with {ndim} axes; give a scalar, a (d, k) matrix, or "
                    "wrap a noise: Common(Diagonal(scale))."
                )
            noise = Isotropic(noise) if ndim == 0 else Dense(jnp.asarray(noise))
        self.noise = noise

    def brownian(self, x):
        return self.noise.brownian(x)

    def apply(self, x, increment):
        return self.noise.apply(x, increment)

    def squared(self, x):
        return self.noise.squared(x)


class Cylindrical(AbstractNoise):
    r"""Shared noise ∫ G(x, θ) B(dθ, dt) given without a matrix, by its linear map.

    **Arguments:**

    - `field`: linear function dB ↦ ∫ G(x, θ) dB(θ) at this point; it may close over the point.
    - `shape`: shape of dB, one Brownian motion for each θ.

    !!! example

        `fm.Rates(-x, fm.Cylindrical(lambda dB: x * dB[0], (3,)))`
    """

    field: Callable[[Array], Velocity]
    shape: tuple[int, ...] = eqx.field(static=True)

    def brownian(self, x):
        return jax.ShapeDtypeStruct(self.shape, jnp.result_type(*jax.tree.leaves(floating(x))))

    def apply(self, x, increment):
        return self.field(increment)

    def squared(self, x):
        sigma = self.matrix(x)
        return sigma @ sigma.T


class NoiseSum(AbstractNoise):
    """Independent noises added."""

    parts: tuple[AbstractNoise, ...]

    def brownian(self, x):
        return tuple(part.brownian(x) for part in self.parts)

    def apply(self, x, increment):
        moves = [part.apply(x, w) for part, w in zip(self.parts, increment, strict=True)]
        return jax.tree.map(lambda *a: sum(a[1:], a[0]), *moves)

    def squared(self, x):
        squares = [part.squared(x) for part in self.parts]
        return sum(squares[1:], squares[0])


def parts(noise: AbstractNoise | None) -> tuple[AbstractNoise, ...]:
    """A noise as a tuple of its independent parts."""
    if noise is None:
        return ()
    return noise.parts if isinstance(noise, NoiseSum) else (noise,)


class NoiseField(eqx.Module):
    """The noise of all n points of a measure: a tuple of parts, each own or shared.

    `law(x)` is the noise at one point. It is asked again for parts that are functions
    (`Cylindrical`); parts that are arrays are kept as evaluated, with leading axis n.
    """

    points: PyTree
    parts: tuple[AbstractNoise, ...]
    law: Callable[[Point], tuple[AbstractNoise, ...]]

    def brownian(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shapes of the Brownian increments; own noise has the leading axis n."""

        def one(x):
            return jax.tree.map(
                lambda s: jnp.zeros(s.shape, s.dtype), [part.brownian(x) for part in self.law(x)]
            )

        shapes = jax.eval_shape(jax.vmap(one, axis_name=ATOMS), self.points)
        shared = lambda s: jax.ShapeDtypeStruct(s.shape[1:], s.dtype)  # noqa: E731
        return tuple(
            jax.tree.map(shared, shape) if part.shared else shape
            for part, shape in zip(self.parts, shapes, strict=True)
        )

    def over_points(self, function: Callable, increments: tuple | None = None) -> PyTree:
        """`function(part, x[, increment])` summed over parts, at every point."""
        total = None
        for i, part in enumerate(self.parts):
            arguments = () if increments is None else (increments[i],)
            axes = (None if part.shared else 0,) * len(arguments)
            if isinstance(part, Cylindrical):
                one = lambda x, *w, i=i: function(self.law(x)[i], x, *w)  # noqa: E731
                batched = jax.vmap(one, in_axes=(0, *axes), axis_name=ATOMS)
                value = batched(self.points, *arguments)
            else:
                value = eqx.filter_vmap(function, in_axes=(eqx.if_array(0), 0, *axes))(
                    part, self.points, *arguments
                )
            total = value if total is None else jax.tree.map(jnp.add, total, value)
        return total

    def apply(self, increments: tuple) -> PyTree:
        """σ dW at every point, with leading axis n."""
        return self.over_points(lambda part, x, w: part.apply(x, w), increments)


def standard_normal(key: PRNGKey, shapes: PyTree[jax.ShapeDtypeStruct]) -> PyTree[Array]:
    """Independent standard normals of the given shapes, one key for each leaf."""
    leaves, structure = jax.tree.flatten(shapes)
    keys = [key] if len(leaves) == 1 else jax.random.split(key, len(leaves))

    def draw(key, s):
        # The same numbers as in the leaf's own shape, in vectors as long as they come.
        return jax.random.normal(key, (math.prod(s.shape),), s.dtype).reshape(s.shape)

    return jax.tree.unflatten(structure, list(map(draw, keys, leaves)))

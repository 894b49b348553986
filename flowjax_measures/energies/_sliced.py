r"""The sliced Wasserstein energy ([bonnotte2013]).

    F(μ) = ½ SW₂²(μ, ν) = ½ ∫_{S^{d−1}} W₂²(θ_#μ, θ_#ν) dθ        (dθ of mass one)
    v(x) = −∫ θ (⟨θ, x⟩ − T_θ⟨θ, x⟩) dθ,   T_θ the monotone map of the projections

On a line W₂ is the distance of quantile functions, found by sorting. An atom of μ moves to the
mean of the part of θ_#ν that it is coupled with.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._custom_types import Count
from .._numerics import checked, safe_sqrt
from .._reduce import sort_order
from ..kernels._base import mass
from ..measures import AbstractMeasure, Gaussian, Particles
from ..measures._base import concrete
from ._base import AbstractEnergy
from ._ground import check_flat, check_vectors, points_of, shared_space


class SlicedWasserstein(AbstractEnergy):
    r"""½ SW₂²(·, target).

    Between two `Gaussian`s each slice is in closed form; other measures enter by their atoms.

    **Arguments:**

    - `target`: the measure ν.
    - `directions`: unit vectors θ, shape (k, d), for example `sphere_directions(key, 200, d)`.
      `None` is exact on the line, takes 64 equal angles of the half-circle in the plane, a lattice
      of 512 points on the half-sphere in space, and about 512 directions, in fixed orthonormal
      bases, beyond.
    - `weights`: those of the directions, shape (k,), divided by their sum; equal by default.

    !!! example

        `fm.SlicedWasserstein(nu)(mu)`
    """

    target: AbstractMeasure
    directions: Float[Array, "k d"] | None = None
    weights: Float[Array, " k"] | None = None

    def __check_init__(self):
        if self.directions is not None:
            check_unit("directions", self.directions)
        if self.weights is None:
            return
        if self.directions is None or self.weights.shape != self.directions.shape[:1]:
            raise ValueError(
                f"`weights` has shape {self.weights.shape}; give one for each of the `directions`."
            )
        if concrete(self.weights) and np.min(np.asarray(self.weights)) < 0:
            raise ValueError("`weights` holds a negative number; give those of a mean.")

    def __call__(self, mu):
        theta = self._directions(mu)
        nu = self.target
        if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
            return self._mean(jax.vmap(lambda u: _gaussian_square(u, mu, nu))(theta)) / 2
        (x, a), (y, b) = _atoms(mu), _atoms(self.target)
        if matched(mu, nu):
            gap = lambda u: jnp.mean((_sorted(x @ u) - _sorted(y @ u)) ** 2)  # noqa: E731
            return self._mean(jax.vmap(gap)(theta)) / 2
        return self._mean(jax.vmap(lambda u: square(x @ u, a, y @ u, b))(theta)) / 2

    def first_variation(self, x, mu):
        theta = self._directions(mu)
        nu = self.target
        if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
            one = lambda u: _gaussian_potential(jnp.vdot(u, x), u, mu, nu)  # noqa: E731
            return self._mean(jax.vmap(one)(theta))
        (points, a), (y, b) = _atoms(mu), _atoms(self.target)

        def slice_potential(u):
            return potential(jnp.vdot(u, x), _line(points @ u, a), _line(y @ u, b))

        return self._mean(jax.vmap(slice_potential)(theta)) / mass(mu)

    def velocity(self, x, mu):
        theta = self._directions(mu)
        if isinstance(mu, Gaussian) and isinstance(self.target, Gaussian):
            return -jax.grad(self.first_variation)(x, mu)
        (points, a), (y, b) = _atoms(mu), _atoms(self.target)
        equal = matched(mu, self.target)

        def pull(u):
            s = jnp.vdot(u, x)
            if equal:
                return u * (_rank_map(s, _sorted(points @ u), _sorted(y @ u)) - s)
            return u * (monotone(s, _line(points @ u, a), _line(y @ u, b)) - s)

        return self._mean(jax.vmap(pull)(theta)) / mass(mu)

    def diffusivity(self, x, mu):
        return None

    def _mean(self, values: Float[Array, "k *v"]) -> Float[Array, "*v"]:
        """The mean over the directions."""
        if self.weights is None:
            return jnp.mean(values, axis=0)
        return jnp.tensordot(self.weights / jnp.sum(self.weights), values, axes=1)

    def _directions(self, mu: AbstractMeasure) -> Float[Array, "k d"]:
        shared_space(mu, self.target)
        check_flat("SlicedWasserstein", mu)
        check_vectors("SlicedWasserstein", mu)
        points = points_of(mu)
        size = points.size // len(points)
        if self.directions is None:
            return jnp.asarray(rule(size), points.dtype)
        if self.directions.shape[1:] != points.shape[1:]:
            raise ValueError(
                f"`directions` has shape {self.directions.shape} for points of shape "
                f"{points.shape[1:]}; give unit vectors of that length, (k, {size})."
            )
        return self.directions


def check_unit(name: str, directions: Array) -> None:
    """Refuses vectors, along the last axis, that are not of length one."""
    if not concrete(directions):
        return
    lengths = np.linalg.norm(np.asarray(directions, float), axis=-1)
    if np.any(np.abs(lengths - 1) > 1e-3):
        raise ValueError(
            f"`{name}` has vectors of length {lengths.flat[np.argmax(np.abs(lengths - 1))]:.3g}; "
            "divide them by it."
        )


def rule(dimension: int) -> np.ndarray:
    """Directions of equal weight; each set integrates ⟨θ, x⟩² exactly."""
    if dimension == 1:
        return np.ones((1, 1))
    angle = np.pi * (np.arange(64) + 0.5) / 64
    if dimension == 2:
        return np.stack([np.cos(angle), np.sin(angle)], -1)
    if dimension == 3:
        return _lattice(512)
    # Random orthonormal bases of a fixed seed: no worse than independent directions.
    count = max(512 // dimension, 8)
    draws = np.random.default_rng(0).standard_normal((count, dimension, dimension))
    return np.linalg.qr(draws)[0].swapaxes(1, 2).reshape(-1, dimension)


@cache
def _lattice(count: int) -> np.ndarray:
    """Fibonacci's spiral on the upper half-sphere, turned and stretched to integrate ⟨θ, x⟩²."""
    k = np.arange(count) + 0.5
    height, angle = k / count, np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - height**2)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1)
    for _ in range(60):
        second = points.T @ points * 3 / count
        points = points @ np.linalg.inv(np.linalg.cholesky(second)).T
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


@checked
def sphere_directions(key, count: Count, dimension: Count) -> Float[Array, "k d"]:
    """`count` independent uniform directions of the unit sphere in `dimension` dimensions.

    !!! example

        `fm.sphere_directions(key, 10, 3)`
    """
    z = jax.random.normal(key, (count, dimension))
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def _atoms(mu: AbstractMeasure) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    points, log_weights = mu.atoms()
    return points, jax.nn.softmax(log_weights)


def matched(mu: AbstractMeasure, nu: AbstractMeasure) -> bool:
    """Whether both are as many particles of equal weight: then the k-th goes to the k-th."""
    if not (isinstance(mu, Particles) and isinstance(nu, Particles)):
        return False
    return mu.log_w is None and nu.log_w is None and mu.size() == nu.size()


def _sorted(s: Float[Array, " n"]) -> Float[Array, " n"]:
    return s[sort_order(s)]


def _rank_map(s, here: Float[Array, " n"], there: Float[Array, " n"]):
    """T(s) between sorted atoms of equal weight: the mean over the ranks of the atoms at s."""
    width = _round_off(here)
    low, high = (
        jnp.searchsorted(here, s + shift, side=side, method="scan_unrolled")
        for shift, side in ((-width, "left"), (width, "right"))
    )
    zero = jnp.zeros(1, there.dtype)
    total = jnp.concatenate([zero, jnp.cumsum(there)])
    count = jnp.maximum(high - low, 1)
    tied = (total[high] - total[low]) / count.astype(there.dtype)
    return jnp.where(high - low > 1, tied, there[jnp.clip(low, 0, there.size - 1)])


def _round_off(s: Array):
    """Compiled, the projection of an atom and of the point that is this atom differ by so much."""
    return 16 * jnp.finfo(s.dtype).eps * jnp.max(jnp.abs(s))


class _Line(NamedTuple):
    """A measure on the line: sorted atoms, cumulated masses, and the integral of its quantile."""

    s: Array
    mass: Array
    moment: Array


def _line(s: Float[Array, " n"], weights: Float[Array, " n"]) -> _Line:
    order = sort_order(s)
    s, w = s[order], weights[order]
    zero = jnp.zeros(1, s.dtype)
    mass = jnp.concatenate([zero, jnp.cumsum(w)])
    # Round-off must not leave the last quantile outside.
    mass = mass / mass[-1]
    return _Line(s, mass, jnp.concatenate([zero, jnp.cumsum(w * s)]))


def _quantile_integral(u, line: _Line):
    """∫_0^u Q."""
    return jnp.interp(u, line.mass, line.moment)


def _quantile(u, line: _Line):
    index = jnp.searchsorted(line.mass, u, side="left") - 1
    return line.s[jnp.clip(index, 0, line.s.size - 1)]


def monotone(s, mu: _Line, nu: _Line):
    """T(s): the mean of the quantiles of ν that the atom of μ at s is coupled with."""
    width = _round_off(mu.s)
    low = mu.mass[jnp.searchsorted(mu.s, s - width, side="left")]
    high = mu.mass[jnp.searchsorted(mu.s, s + width, side="right")]
    share = high - low
    held = share > 0
    mean = (_quantile_integral(high, nu) - _quantile_integral(low, nu)) / jnp.where(held, share, 1)
    return jnp.where(held, mean, _quantile(low, nu))


def potential(s, mu: _Line, nu: _Line):
    """A Kantorovich potential of ½W₂² at s: s²/2 less the convex function whose slope is T."""
    slopes = _quantile(mu.mass, nu)
    heights = jnp.concatenate([jnp.zeros(1, mu.s.dtype), jnp.cumsum(slopes[1:-1] * jnp.diff(mu.s))])
    gap = jnp.searchsorted(mu.s, s, side="right")
    anchor = jnp.clip(gap - 1, 0)
    return s**2 / 2 - heights[anchor] - slopes[gap] * (s - mu.s[anchor])


def square(s, a, r, b):
    """W₂² of two weighted measures on the line, exactly: ∫_0^1 (Q_μ − Q_ν)²."""
    mu, nu = _line(s, a), _line(r, b)
    levels = jnp.sort(jnp.concatenate([mu.mass[1:], nu.mass[1:]]))
    steps = jnp.diff(levels, prepend=0)
    middle = levels - steps / 2
    return jnp.sum(steps * (_quantile(middle, mu) - _quantile(middle, nu)) ** 2)


def _gaussian_square(u, mu: Gaussian, nu: Gaussian):
    spread = safe_sqrt(u @ mu.cov @ u) - safe_sqrt(u @ nu.cov @ u)
    return jnp.vdot(u, mu.m - nu.m) ** 2 + spread**2


def _gaussian_potential(s, u, mu: Gaussian, nu: Gaussian):
    here, there = u @ mu.cov @ u, u @ nu.cov @ u
    slope = safe_sqrt(there / jnp.where(here > 0, here, 1))
    z = s - jnp.vdot(u, mu.m)
    return z**2 / 2 * (1 - slope) + z * jnp.vdot(u, mu.m - nu.m)

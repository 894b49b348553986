r"""Increasing maps of the coordinates, linear between knots, and their images of N(0, I).

T_i(z) = b_i + Σ_j s_ij r_j(z_i),   r_j(z) = ∫_0^z 1{u in piece j} du,   s_ij > 0
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.special import ndtri

from ..._custom_types import FloatScalar, PRNGKey
from ..._numerics import given
from ..._numerics._checks import check_key, check_positive
from ...measures import Particles
from ...measures._base import concrete


class MonotoneMap(eqx.Module):
    """An increasing map for each coordinate, linear between knots: a product measure T#N(0, I).

    **Arguments:** `shift`: T(0), shape (d,). `slopes`: of each piece, positive, shape (d, K).
    `knots`: where pieces meet, K − 1 increasing numbers that all coordinates share.

    !!! example

        `fm.MonotoneMap(jnp.zeros(2), jnp.ones((2, 3)), (-1.0, 1.0))` is the identity.
    """

    shift: Float[Array, " d"]
    log_slopes: Float[Array, "d k"]
    knots: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, shift: ArrayLike, slopes: ArrayLike, knots: ArrayLike):
        self.shift, slopes = given("shift", shift), given("slopes", slopes)
        known = np.asarray(knots, float)
        if known.ndim != 1 or not np.all(np.isfinite(known)) or np.any(np.diff(known) <= 0):
            raise ValueError(f"`knots` are {knots}; give increasing numbers, (K − 1,).")
        self.knots = tuple(known.tolist())
        shape = (*jnp.shape(self.shift), len(known) + 1)
        if len(shape) != 2 or slopes.shape != shape:
            raise ValueError(
                f"`slopes` has shape {slopes.shape}; give one for each coordinate of `shift`, "
                f"{self.shift.shape}, and each piece, {len(known) + 1}."
            )
        fits = lambda a: np.all(np.isfinite(np.asarray(a)))  # noqa: E731
        if concrete(self.shift) and not fits(self.shift):
            raise ValueError("`shift` holds NaN or inf; give finite numbers.")
        if concrete(slopes) and not (fits(slopes) and np.all(np.asarray(slopes) > 0)):
            raise ValueError("`slopes` must be positive and finite, for maps that increase.")
        self.log_slopes = jnp.log(slopes)

    @property
    def slopes(self) -> Float[Array, "d k"]:
        """The slope of each piece; kept by their logarithms, which no step makes negative."""
        return jnp.exp(self.log_slopes)

    @classmethod
    def of_gaussian(cls, mean: ArrayLike, scale: ArrayLike, pieces: int = 16) -> "MonotoneMap":
        """The map to N(mean, diag(scale²)), both (d,), of `pieces` of equal probability."""
        mean, scale = given("mean", mean), given("scale", scale)
        if mean.ndim != 1 or scale.shape not in ((), mean.shape):
            raise ValueError(
                f"`mean` has shape {mean.shape} and `scale` {scale.shape}; give a vector (d,), and "
                "a number or one for each coordinate."
            )
        if concrete(scale) and not np.all(np.asarray(scale) > 0):
            raise ValueError("`scale` must be positive: it holds standard deviations.")
        check_positive("pieces", pieces, 1)
        slopes = jnp.broadcast_to(
            jnp.broadcast_to(scale, mean.shape)[:, None], (*mean.shape, pieces)
        )
        return cls(mean, slopes, ndtri(np.arange(1, pieces) / pieces))

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " d"]:
        """T(z)."""
        self._check("z", z)
        return self.shift + jnp.sum(self.slopes * self.ramps(z), axis=1)

    def ramps(self, z: Float[Array, "*n"]) -> Float[Array, "*n k"]:
        """r_j(z) of each number, for all pieces."""
        low, high = (jnp.asarray(end, z.dtype) for end in ends(self.knots))
        return jnp.clip(z[..., None], low, high) - jnp.clip(0.0, low, high)

    def log_density(self, x: Float[Array, " d"]) -> FloatScalar:
        """The logarithm of the density of T#N(0, I) at x."""
        self._check("x", x)
        # Each piece is a line through its knot on the left, the first through that on the right.
        knots = jnp.asarray(self.knots or (0.0,), x.dtype)
        met = self.shift[:, None] + self.slopes @ self.ramps(knots).T
        piece = jnp.sum(x[:, None] > met, axis=1) if self.knots else jnp.zeros(x.shape, int)
        knot, pick = jnp.maximum(piece - 1, 0), lambda a, k: jnp.take_along_axis(a, k[:, None], 1)
        slope = pick(self.slopes, piece)[:, 0]
        z = knots[knot] + (x - pick(met, knot)[:, 0]) / slope
        return -jnp.sum(z**2 / 2 + jnp.log(slope)) - x.size / 2 * jnp.log(2 * jnp.pi)

    def sample(self, key: PRNGKey, n: int) -> Particles:
        """n independent draws."""
        check_key(key)
        z = jax.random.normal(key, (n, len(self.shift)), self.shift.dtype)
        return Particles(jax.vmap(self)(z))

    def _check(self, name: str, point: Array) -> None:
        if jnp.shape(point) != self.shift.shape:
            raise ValueError(
                f"`{name}` has shape {jnp.shape(point)}; give one point, {self.shift.shape}, and "
                "take jax.vmap over many."
            )


def ends(knots: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where pieces begin and end."""
    return np.array([-np.inf, *knots]), np.array([*knots, np.inf])

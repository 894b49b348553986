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
    slopes: Float[Array, "d k"]
    knots: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, shift: ArrayLike, slopes: ArrayLike, knots: ArrayLike):
        self.shift, self.slopes = given("shift", shift), given("slopes", slopes)
        known = np.asarray(knots, float)
        if known.ndim != 1 or not np.all(np.isfinite(known)) or np.any(np.diff(known) <= 0):
            raise ValueError(f"`knots` are {knots}; give increasing numbers, (K − 1,).")
        self.knots = tuple(known.tolist())
        self.check()

    def check(self):
        """Raises a `ValueError` where shapes do not fit or a slope is not positive."""
        shape = (*jnp.shape(self.shift), len(self.knots) + 1)
        if len(shape) != 2 or jnp.shape(self.slopes) != shape:
            raise ValueError(
                f"`slopes` has shape {jnp.shape(self.slopes)}; give one for each coordinate of "
                f"`shift`, {jnp.shape(self.shift)}, and each piece, {len(self.knots) + 1}."
            )
        if concrete(self.slopes) and not np.all(np.asarray(self.slopes) > 0):
            raise ValueError("`slopes` must be positive, for maps that increase.")

    @classmethod
    def of_gaussian(cls, mean: ArrayLike, scale: ArrayLike, pieces: int = 16) -> "MonotoneMap":
        """The map to N(mean, diag(scale²)), both (d,), of `pieces` of equal probability."""
        mean = given("mean", mean)
        scale = jnp.broadcast_to(given("scale", scale), mean.shape)
        slopes = jnp.broadcast_to(scale[:, None], (*mean.shape, pieces))
        return cls(mean, slopes, ndtri(np.arange(1, pieces) / pieces))

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, " d"]:
        """T(z)."""
        return self.shift + jnp.sum(self.slopes * self.ramps(z), axis=1)

    def ramps(self, z: Float[Array, "*n"]) -> Float[Array, "*n k"]:
        """r_j(z) of each number, for all pieces."""
        low, high = (jnp.asarray(end, z.dtype) for end in ends(self.knots))
        return jnp.clip(z[..., None], low, high) - jnp.clip(0.0, low, high)

    def log_density(self, x: Float[Array, " d"]) -> FloatScalar:
        """The logarithm of the density of T#N(0, I) at x."""
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
        z = jax.random.normal(key, (n, len(self.shift)), self.shift.dtype)
        return Particles(jax.vmap(self)(z))


def ends(knots: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where pieces begin and end."""
    return np.array([-np.inf, *knots]), np.array([*knots, np.inf])

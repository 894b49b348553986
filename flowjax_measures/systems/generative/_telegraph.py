r"""Kac's process: a point moves at the speed ±c and turns at the rate a ([kac1974]).

u(s, z) and v(s, z), its density and velocity at |z| < cs, are those of `KacFlow`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import i0e, i1e
from jaxtyping import Array, Bool, Float

from ..._custom_types import FloatScalar, PRNGKey, Scalar


class Telegraph(eqx.Module):
    """The process of one coordinate from 0, by its rate `damping` of turns and its `speed`."""

    damping: Scalar
    speed: Scalar

    def inside(self, s: FloatScalar, z: FloatScalar) -> Bool[Array, ""]:
        """Whether z is between the fronts; at s = 0 that is z = 0."""
        return (jnp.abs(z) < self.speed * s) | (z == 0)

    def __call__(self, s: FloatScalar, z: Float[Array, ""]) -> tuple[Array, Array]:
        """log u(s, z) and v(s, z); beyond the front, where round-off takes points, v = ±c."""
        late, reach, inside = self.damping * s, self.speed * s, self.inside(s, z)
        square = late**2 * (1 - (z / jnp.where(reach > 0, reach, 1)) ** 2)
        positive = inside & (square > 0)
        zeta = jnp.sqrt(jnp.where(positive, square, 1))
        one, ratio = jnp.where(positive, i0e(zeta), 1), jnp.where(positive, i1e(zeta) / zeta, 0.5)
        total = one + late * ratio
        log = jnp.log(self.damping / (2 * self.speed) * total) - late + jnp.where(positive, zeta, 0)
        # Far less than any density inside, and most for the nearest atom.
        beyond = (jnp.abs(z) - reach) / (self.speed * jnp.finfo(z.dtype).eps ** 0.5)
        log = jnp.where(inside, log, log - self.damping * beyond)
        return log, jnp.where(inside, self.damping * z * ratio / total, jnp.sign(z) * self.speed)

    def sample(self, key: PRNGKey, s: Array, shape: tuple[int, int]) -> Float[Array, "n d"]:
        """Exact draws at times s, which have `shape` or are made to."""
        count, place, side = jax.random.split(key, 3)
        turns = jax.random.poisson(count, self.damping * s, shape)
        # The shares of time between turns are exchangeable: those of one direction sum to a Beta.
        along, back = turns // 2 + 1, (turns + 1) // 2
        share = jax.random.beta(place, along.astype(s.dtype), jnp.maximum(back, 1).astype(s.dtype))
        share = jnp.where(back > 0, share, 1)
        return self.speed * s * jax.random.rademacher(side, shape, s.dtype) * (2 * share - 1)

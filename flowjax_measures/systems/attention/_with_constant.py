r"""Affine maps in place of matrices: tokens (x, 1) in place of x.

Q (x, 1) = Q' x + b   for   Q = [Q' b]
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField, motion
from ...measures import AbstractMeasure, Rates
from ._watched import matrix_of


class WithConstant(AbstractMeanField):
    """A system of tokens (x, 1): its matrices have one more column, which is added to Qx, Kx, Vx.

    **Arguments:** `system`: a system of tokens in R^{d+1}; the last coordinate does not move.

    !!! example

        `fm.WithConstant(fm.SelfAttention(value=jnp.eye(4)))`
    """

    system: AbstractMeanField

    def rates(self, t, x, mu):
        return Rates(motion(self.system, t, _with_one(x), mu.push(_with_one))[:-1])

    def weights(self, mu: AbstractMeasure, t: FloatScalar = 0.0) -> Float[Array, "..."]:
        """The matrix of attention of the tokens (x, 1); see `SelfAttention.weights`."""
        return matrix_of("system", self.system, mu.push(_with_one), t)


def _with_one(y):
    return jnp.concatenate([y, jnp.ones(1, y.dtype)])

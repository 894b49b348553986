r"""Affine maps in place of matrices: tokens (x, 1) in place of x.

Q (x, 1) = Q' x + b   for   Q = [Q' b]
"""

import jax.numpy as jnp

from ..._system import AbstractMeanField, motion
from ...measures import Rates


class WithConstant(AbstractMeanField):
    """A system of tokens (x, 1): its matrices have one more column, which is added to Qx, Kx, Vx.

    **Arguments:** `system`: a system of tokens in R^{d+1}; the last coordinate does not move.
    """

    system: AbstractMeanField

    def rates(self, t, x, mu):
        one = lambda y: jnp.concatenate([y, jnp.ones(1, y.dtype)])  # noqa: E731
        return Rates(motion(self.system, t, one(x), mu.push(one))[:-1])

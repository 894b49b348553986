r"""Interaction along the line of two points ([lu2019a]).

    dX = ∫ φ(‖y − X‖) (y − X) μ(dy) dt

φ > 0 attracts: opinions, flocks of first order; φ(r) = Φ′(r)/r of a pair potential, molecules.
"""

from collections.abc import Callable

import jax.numpy as jnp

from ..._custom_types import FloatScalar
from ..._system import AbstractMeanField
from ...measures import Rates


class RadialInteraction(AbstractMeanField):
    """Points that pull each other by an influence that depends on their distance.

    **Arguments:** `influence`: φ, a function of a distance r > 0, for example a
    `PiecewiseLinear`. It may be singular at 0: a point does not pull itself.

    !!! example

        `fm.simulate(fm.RadialInteraction(lambda r: jnp.exp(-r)), mu, [0.0, 1.0])`
    """

    influence: Callable[[FloatScalar], FloatScalar]

    def rates(self, t, x, mu):
        def pull(y):
            z = y - x
            square = jnp.sum(z**2)
            apart = square > 0
            return jnp.where(apart, self.influence(jnp.sqrt(jnp.where(apart, square, 1))), 0) * z

        return Rates(mu.mean(pull))

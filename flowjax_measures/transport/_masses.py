"""What measures must share to be transported into each other."""

import jax.numpy as jnp

from ..kernels._base import log_mass
from ..measures import AbstractMeasure
from ..measures._base import concrete

# Densities on grids have mass one up to their tails and their quadrature.
_TOLERANCE = 0.01


def check_masses(mu: AbstractMeasure, nu: AbstractMeasure) -> None:
    """Refuses measures of unequal masses; those of equal mass count as divided by it."""
    one, two = log_mass(mu), log_mass(nu)
    if concrete(one, two) and not abs(float(one - two)) < _TOLERANCE:
        raise ValueError(
            f"The measures have the masses {jnp.exp(one):.6g} and {jnp.exp(two):.6g}: transport "
            "moves mass and makes none. Normalise them, log_w − logsumexp(log_w), or take "
            "`hellinger_kantorovich` or `entropic_coupling` with τ < 1, which may make mass."
        )

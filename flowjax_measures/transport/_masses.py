"""What measures must share to be transported into each other."""

import numpy as np

from ..energies._ground import shared_space
from ..measures import AbstractMeasure, Gaussian, Particles
from ..measures._base import concrete
from ..spaces import AbstractSpace

# Densities on grids have mass one up to their tails and their quadrature.
_TOLERANCE = 0.01


def comparable(
    mu: AbstractMeasure, nu: AbstractMeasure, names: str = "`mu` and `nu`"
) -> AbstractSpace:
    """The space of two measures that transport can compare; refuses unequal masses and spaces."""
    for name, measure in (("mu", mu), ("nu", nu)):
        if not isinstance(measure, AbstractMeasure):
            raise ValueError(
                f"`{name}` is {type(measure).__name__}; distances are of measures: of points give "
                "Particles(x)."
            )
    space = shared_space(mu, nu)
    check_masses(mu, nu, names)
    return space


def check_masses(mu: AbstractMeasure, nu: AbstractMeasure, names: str) -> None:
    """Refuses measures of unequal masses; those of equal mass count as divided by it."""
    one, two = _log_mass(mu), _log_mass(nu)
    if one is not None and two is not None and not abs(one - two) < _TOLERANCE:
        raise ValueError(
            f"{names} have the masses {np.exp(one):.6g} and {np.exp(two):.6g}: transport "
            "moves mass and makes none. Normalise them, log_w − logsumexp(log_w), or take "
            "`hellinger_kantorovich`, `unbalanced_transport`, or `entropic_coupling` with τ < 1, "
            "which may make mass."
        )


def _log_mass(mu: AbstractMeasure) -> float | None:
    """The logarithm of the mass, where it can be looked at."""
    if isinstance(mu, Gaussian) or (isinstance(mu, Particles) and mu.log_w is None):
        return 0.0
    log_weights = mu.log_w if isinstance(mu, Particles) else mu.atoms()[1]
    if not concrete(log_weights):
        return None
    # By NumPy: within a program even numbers that are known would become traced.
    return float(np.logaddexp.reduce(np.asarray(log_weights, np.float64)))

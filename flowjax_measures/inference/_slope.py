"""The exponent of an error over step sizes, by weighted least squares, with its interval."""

import equinox as eqx
import numpy as np


class Slope(eqx.Module):
    """The exponent p of an error c η^p, with its 95% confidence interval.

    !!! example

        `fm.Slope(2.0, 1.9, 2.1).value`
    """

    value: float
    lower: float
    upper: float


def largest(errors: np.ndarray, deviations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The error of the observable that is worst at the largest error, and its standard error."""
    worst = np.argmax(np.max(errors, axis=0))
    return errors[:, worst], deviations[:, worst]


def fitted_slope(etas: np.ndarray, errors: np.ndarray, deviations: np.ndarray) -> Slope:
    """Least squares of log error on log η; noise of the errors widens the interval."""
    from scipy.special import ndtri, stdtrit  # A quarter of a second to import.

    x, y = np.log(etas), np.log(np.maximum(errors, np.finfo(float).tiny))
    sigma = deviations / np.maximum(errors, np.finfo(float).tiny)
    weights = 1 / np.maximum(sigma, 1e-12) ** 2 if np.all(sigma > 0) else np.ones_like(x)
    centre = np.average(x, weights=weights)
    spread = np.sum(weights * (x - centre) ** 2)
    value = np.sum(weights * (x - centre) * y) / spread
    residual = y - np.average(y, weights=weights) - value * (x - centre)
    freedom = x.size - 2
    # The larger of what the standard errors and what the scatter about the line say.
    scatter = np.sum(weights * residual**2) / freedom if freedom else np.inf
    if np.all(sigma > 0):
        half = ndtri(0.975) / np.sqrt(spread)
        if freedom:
            half = max(half, stdtrit(freedom, 0.975) * np.sqrt(scatter / spread))
    else:
        half = stdtrit(freedom, 0.975) * np.sqrt(scatter / spread) if freedom else np.inf
    return Slope(float(value), float(value - half), float(value + half))

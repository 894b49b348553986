"""Minimise, sample and filter with ensembles of points."""

from ._gradient_spread import (
    GradientSpread as GradientSpread,
    gradient_spread as gradient_spread,
)
from ._kalman_filter import FilterResult as FilterResult, kalman_filter as kalman_filter
from ._minimize import minimize as minimize
from ._result import Front as Front, Minima as Minima, OptimizeResult as OptimizeResult
from ._sample import sample as sample

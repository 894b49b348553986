"""Minimise, sample and filter with ensembles of points."""

from ._ask_tell import AskTell as AskTell
from ._gradient_spread import (
    GradientSpread as GradientSpread,
    gradient_spread as gradient_spread,
)
from ._host import host as host
from ._kalman_filter import FilterResult as FilterResult, kalman_filter as kalman_filter
from ._kalman_inversion import (
    InversionResult as InversionResult,
    kalman_inversion as kalman_inversion,
)
from ._minimize import minimize as minimize
from ._result import Front as Front, Minima as Minima, OptimizeResult as OptimizeResult
from ._sample import sample as sample
from ._scipy import scipy_method as scipy_method

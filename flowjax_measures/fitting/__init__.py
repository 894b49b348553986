"""Parameters from data: gradients and least squares over whole runs; networks from losses."""

from ._fit import FitResult as FitResult, fit as fit, profile as profile
from ._learn import LearnResult as LearnResult, learn as learn

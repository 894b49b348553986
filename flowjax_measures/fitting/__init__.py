"""Parameters from data: gradients and least squares over whole runs."""

from ._fit import FitResult as FitResult, fit as fit, profile as profile

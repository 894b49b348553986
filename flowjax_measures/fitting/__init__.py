"""Parameters from data: gradients and least squares over whole runs; networks from losses."""

from ._fit import FitResult as FitResult, fit as fit, profile as profile
from ._learn import LearnResult as LearnResult, learn as learn
from ._learn_energy import LearnedEnergy as LearnedEnergy, learn_energy as learn_energy

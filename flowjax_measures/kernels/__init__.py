"""Potentials of one point and kernels of two points."""

from ._quadratic import Quadratic as Quadratic, QuadraticKernel as QuadraticKernel

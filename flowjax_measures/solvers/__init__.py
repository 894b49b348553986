"""Solvers of ours, for schemes that diffrax lacks; they are diffrax solvers."""

from ._conformal import (
    ConformalAdamsBashforth2 as ConformalAdamsBashforth2,
    ConformalSymplecticEuler as ConformalSymplecticEuler,
    ExponentialEuler as ExponentialEuler,
)
from ._jko import JKO as JKO
from ._minimizing_movement import MinimizingMovement as MinimizingMovement

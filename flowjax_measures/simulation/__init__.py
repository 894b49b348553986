"""The only door to diffrax: `simulate`, its two engines, resumed runs, other clocks."""

from ._blow_up import blow_up_time as blow_up_time
from ._coarsen import Coarsening as Coarsening, coarsen as coarsen
from ._in_context import Reading as Reading, in_context as in_context
from ._log_time import LogTime as LogTime
from ._lyapunov import (
    LyapunovExponent as LyapunovExponent,
    lyapunov_exponent as lyapunov_exponent,
)
from ._resume import simulate_resumable as simulate_resumable
from ._simulate import Results as Results, Trajectory as Trajectory, simulate as simulate
from ._stepper import Stepper as Stepper, stepper as stepper

"""Cubature, square roots and linear algebra of measures; bytes of memory."""

from ._bessel import bessel_ratios as bessel_ratios
from ._checked import checked as checked
from ._compiled import (
    Constant as Constant,
    collector_paused as collector_paused,
    compiled as compiled,
    jitted as jitted,
)
from ._conjugate_gradients import conjugate_gradients as conjugate_gradients
from ._cubature import (
    degree as degree,
    depends as depends,
    expect as expect,
    factor as factor,
    nodes as nodes,
)
from ._draw import draw as draw, key_of as key_of
from ._fields import Checked as Checked
from ._friction import Damping as Damping, damped as damped, undamped as undamped
from ._given import given as given
from ._groups import group_sums as group_sums, groups as groups
from ._matrix import (
    lyapunov as lyapunov,
    positive_part as positive_part,
    square_root as square_root,
)
from ._powers import (
    noise_size as noise_size,
    safe_power as safe_power,
    safe_sqrt as safe_sqrt,
)
from ._precision import (
    full_precision as full_precision,
    in_full_precision as in_full_precision,
)

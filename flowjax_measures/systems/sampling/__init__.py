from ._langevin import Langevin as Langevin
from ._underdamped_langevin import UnderdampedLangevin as UnderdampedLangevin

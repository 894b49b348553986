from ._fleming_viot import FlemingViot as FlemingViot
from ._follmer_process import FollmerProcess as FollmerProcess
from ._hellinger_kantorovich_brownian import (
    Atom as Atom,
    HellingerKantorovichBrownian as HellingerKantorovichBrownian,
)
from ._independent_projection import IndependentProjection as IndependentProjection
from ._jarzynski import Jarzynski as Jarzynski
from ._langevin import Langevin as Langevin
from ._lindblad import Lindblad as Lindblad
from ._monotone_map import MonotoneMap as MonotoneMap
from ._polyhedral_mean_field import PolyhedralMeanField as PolyhedralMeanField
from ._stochastic_localization import StochasticLocalization as StochasticLocalization
from ._underdamped_langevin import UnderdampedLangevin as UnderdampedLangevin

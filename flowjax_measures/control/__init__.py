"""Controls of flows: Pontryagin's principle, worst cases."""

from ._pontryagin import (
    Pontryagin as Pontryagin,
    pontryagin as pontryagin,
    worst_case as worst_case,
)
from ._risk import conditional_value_at_risk as conditional_value_at_risk

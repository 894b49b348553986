"""What `fit` is asked: which numbers, compared by what, of which runs, sought for how long."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx


class Fitted(NamedTuple):
    """Which numbers of the system are fitted, and where they lie; as of `select`."""

    where: Callable | None
    positive: bool | Callable
    bounds: tuple[Any, Any] | None
    symmetric: bool | Callable


class Comparison(NamedTuple):
    """How states are compared with snapshots; `None` is set by the width of the data."""

    loss: Any
    kernel: Callable | None = None
    epsilon: Any = None
    directions: Any = None
    summaries: Callable | None = None
    independent: bool = False


class Runs(eqx.Module):
    """How the system is run: what `simulate` takes, and the pieces that a run is cut into.

    With `shooting` the run starts again from the snapshots, and is of so many intervals. `batch`
    and `pieces` are numbers of particles and of such runs that each evaluation draws.
    """

    key: Any
    dt: float | None
    options: dict[str, Any]
    shooting: int | None = eqx.field(static=True)
    batch: int | None = eqx.field(static=True)
    pieces: int | None = eqx.field(static=True)

    @property
    def drawn(self) -> bool:
        return self.batch is not None or self.pieces is not None


class Limits(NamedTuple):
    """When a search ends: after `steps`, or where the last `patience` losses agree."""

    steps: int
    tolerance: float
    patience: int

"""What a run is asked for, beside its times."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
from jaxtyping import PyTree

from .._custom_types import PRNGKey
from .._system import AbstractSystem


class Request(NamedTuple):
    """The arguments of `simulate`, which says what each of them means."""

    system: AbstractSystem
    state: Any
    dt: Any
    key: PRNGKey | None
    observe: PyTree[Callable]
    solver: diffrax.AbstractSolver | None
    controller: diffrax.AbstractStepSizeController | None
    adjoint: diffrax.AbstractAdjoint | None
    event: Any
    meter: diffrax.AbstractProgressMeter
    remat: str | None
    max_steps: int | None

    @property
    def constant(self) -> bool:
        """Whether steps have one length, chosen before the run."""
        return self.dt is not None and self.controller is None

    @property
    def loop(self) -> bool:
        """Whether diffrax's own loop is needed."""
        implicit = isinstance(self.solver, diffrax.AbstractImplicitSolver)
        # Constant steps are differentiated as they are, which is what that adjoint asks for.
        direct = isinstance(self.adjoint, diffrax.DirectAdjoint)
        asked = (self.controller, self.event, None if direct else self.adjoint)
        return self.dt is None or implicit or any(a is not None for a in asked)

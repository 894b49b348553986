"""Search for those who hold the loop: `ask` for places, `tell` their values."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._custom_types import PRNGKey
from .._numerics import jitted
from ._result import OptimizeResult
from ._run import finish
from ._search import Search, SearchState
from ._setup import Options, prepare


class AskTell(eqx.Module):
    """`minimize` in two halves, for an objective that only the caller can evaluate.

    The step and the noise are those of `minimize` with the same `method`, "consensus" by default,
    without an opening; the consensus at the end is not evaluated.

    **Arguments:** `initial`, and by keyword those of `minimize` that say how to search: `bounds`,
    `method`, `particles`, `spread`, `dt`, `budget`, `tol`, `target`, `patience`, `deviation`,
    `resampling`, `boundary`, `constraints`, `space`, `batch`, `batch_moves`, `exponential`.

    !!! example

        ```python
        opt = fm.AskTell(bounds=(jnp.full(2, -5.0), jnp.full(2, 5.0)), particles=50)
        state = opt.init(jr.key(0))
        while not opt.stopped(state):
            x = opt.ask(state)
            state = opt.tell(state, [simulator(point) for point in x])
        opt.result(state).x
        ```
    """

    initial: Any
    options: Options

    def __init__(self, initial: Any = None, **options: Any):
        known = set(Options._fields) - {"vectorized", "workers", "observe", "callback"}
        if not set(options) <= known:
            wrong = sorted(set(options) - known)
            raise ValueError(f"`{wrong[0]}` is no option of AskTell; they are {sorted(known)}.")
        self.initial = initial
        self.options = Options(**options)

    def init(self, key: PRNGKey) -> "AskTellState":
        """The state before the first step."""
        prepared = prepare(None, self.initial, key, self.options)
        return AskTellState(prepared.search, _begin(prepared.search, prepared.points))

    def ask(self, state: "AskTellState") -> PyTree:
        """The places to evaluate, with a leading axis."""
        return _ask(state.search, state.state)

    def tell(self, state: "AskTellState", values: Any) -> "AskTellState":
        """The state after a step that knows the values at `ask(state)`, in its order.

        NaN and +∞ forbid a place.
        """
        asked = jax.tree.leaves(jax.eval_shape(state.search.ask, state.state))[0].shape[:1]
        values = jnp.asarray(values, state.state.values.dtype)
        wanted = (*asked, *state.state.values.shape[1:])
        if values.shape != wanted:
            raise ValueError(
                f"`values` has shape {values.shape}; give one for each place asked for, {wanted}."
            )
        return AskTellState(state.search, _tell(state.search, state.state, values))

    def stopped(self, state: "AskTellState") -> bool:
        """Whether the search has ended."""
        return int(state.state.status) != 0

    def result(self, state: "AskTellState") -> OptimizeResult:
        """The best so far."""
        return finish(state.search, state.state, None)


class AskTellState(eqx.Module):
    """Where a search stands, and all that steers it."""

    search: Search
    state: SearchState


_ask = eqx.filter_jit(Search.ask)
_tell = eqx.filter_jit(Search.tell)


@jitted
def _begin(search: Search, points: Any) -> SearchState:
    return search.begin(points, 0)

r"""In-context maps T_θ(μ, x): what becomes of a point in the context of a measure.

    ẋ = Γ_t[μ_t](x),   ∂_t μ = −∇·(μ Γ_t[μ_t])

The queries x read the context and do not act on it, nor on each other.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, ArrayLike, Float

from .._numerics import checked
from .._system import AbstractMeanField, Species
from ..measures import AbstractMeasure, Particles
from ..spaces import Euclidean
from ._simulate import Trajectory, simulate


class Reading(AbstractMeanField):
    """The law of a point that sees one species of a dict of measures.

    **Arguments:** `system`: the law among that species; `species`: its name.

    !!! example

        `fm.Reading(fm.SelfAttention(beta=1.0))`
    """

    system: AbstractMeanField
    species: str = "context"

    def rates(self, t, x, mu):
        return self.system.rates(t, x, mu[self.species])


@checked
def in_context(
    system: AbstractMeanField,
    context: AbstractMeasure,
    queries: Particles | Float[Array, "m d"],
    ts: ArrayLike | Sequence[float],
    **options: Any,
) -> Trajectory:
    """Runs query points in a context that they do not change.

    **Arguments:**

    - `system`: the law of a point, for example `SelfAttention(beta=4.0)`.
    - `context`: the measure that is read, which moves by the same law; particles, or a `Gaussian`
      whose closure the queries then read.
    - `queries`: the points, an array (m, d) or `Particles`.
    - `ts`, `options`: as in `simulate`.

    **Returns:** the `Trajectory` of the dict `{"context": …, "queries": …}`;
    `run.final["queries"].x` is T_θ(context, queries) at the last time.

    !!! example

        `fm.in_context(fm.SelfAttention(), tokens, tokens.x[:2], [0.0, 1.0]).final["queries"].x`
    """
    if not isinstance(queries, AbstractMeasure):
        space = context.space if isinstance(context, Particles) else Euclidean()
        queries = Particles(queries, space=space)
    law = Reading(system)
    both = {"context": context, "queries": queries}
    return simulate(Species({"context": law, "queries": law}), both, ts, **options)

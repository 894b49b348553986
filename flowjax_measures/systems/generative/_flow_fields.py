r"""One way to ask any generative flow for its velocity, its score and its density.

∂_t ρ + ∇·(ρ b) = 0,   s = ∇ log ρ_t,   in the time of the run, from the source to the data
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from ..._numerics import checked
from ...measures import Rates
from ._blind_denoising import BlindDenoising
from ._kac_flow import KacFlow


class FlowFields(NamedTuple):
    """b(t, x), s(t, x) and log ρ_t(x) of a flow.

    !!! example

        ```python
        fm.flow_fields(
            fm.StochasticInterpolant(fm.Gaussian(jnp.zeros(2), jnp.eye(2)), mu)
        ).score(0.5, jnp.zeros(2))
        ```
    """

    velocity: Callable[[Any, Any], Any]
    score: Callable[[Any, Any], Any]
    log_density: Callable[[Any, Any], Any]


@checked
def flow_fields(flow: Any) -> FlowFields:
    r"""The velocity of the flow without noise, the score and the log-density of its law.

    Exact where the system knows them: `StochasticInterpolant` (and `schroedinger_bridge`) from
    Gaussians, mixtures and atoms, `KacFlow`, whose own methods count the time of the noise, and
    `LeastSquaresFlow` along Gaussians; the velocity alone of `PoissonFlow`, `EquilibriumMatching`
    and flows without noise; what a `ProbabilityFlow` was given. For densities of the rest take
    `log_likelihood`.

    **Arguments:** `flow`: a generative system.

    **Raises:** `ValueError` where a field that is asked is not known.

    !!! example

        `velocity, score, log_density = fm.flow_fields(flow)`, and `score(0.5, x)`
    """
    if isinstance(flow, BlindDenoising):
        raise ValueError(
            "The law of BlindDenoising at t is p_σ at σ = flow.noise_level(t, start): ask its own "
            "`log_density(σ, y)` and `score(σ, y)`."
        )
    if isinstance(flow, KacFlow):
        left = lambda t: flow.horizon - t  # noqa: E731
        return FlowFields(
            lambda t, x: -flow.velocity(left(t), x),
            lambda t, x: flow.score(left(t), x),
            lambda t, x: flow.log_density(left(t), x),
        )
    log_density = getattr(flow, "log_density", None) or _unknown(flow, "log_density")
    score = getattr(flow, "score", None)
    if score is None:
        score = lambda t, x: jax.grad(lambda x: log_density(t, x))(x)  # noqa: E731
    return FlowFields(getattr(flow, "velocity", None) or _velocity(flow), score, log_density)


def _velocity(flow: Any) -> Callable[[Any, Any], Any]:
    def velocity(t, x):
        law = flow.rates(t, x, None)
        if not isinstance(law, Rates) or law.noise is not None:
            raise ValueError(f"{type(flow).__name__} has noise, and does not know its velocity.")
        return law.velocity

    return velocity


def _unknown(flow: Any, name: str) -> Callable[[Any, Any], Any]:
    def ask(t, x):
        raise ValueError(
            f"{type(flow).__name__} does not know its `{name}`; `log_likelihood` computes "
            "that of a flow from a source with a density."
        )

    return ask

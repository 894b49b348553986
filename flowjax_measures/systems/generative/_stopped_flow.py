r"""Flows whose points stop on their way: equilibrium matching of laws with a density.

    Ẋ = b(X),   points stop at the rate λ(t, X)

With ∇·(νb) = ρ_0 − ρ_1 and λ = ρ_1/ν points that start from ρ_0 have the law ν while they move,
counted by the time that they spend, and stop with the law ρ_1: the balance is
∇·(νb) = ρ_0 − λν. On average they move for the time 1, the mass of ν. A point that stops at first
where its velocity is small, or near data, has another law.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._custom_types import Count, FloatScalar, PRNGKey
from ..._numerics import checked
from ..._system import AbstractMeanField
from ...measures import Rates
from ._equilibrium_matching import EquilibriumMatching


class StoppedFlow(AbstractMeanField):
    r"""Points `(x, e)` that move while their e > 0, which runs down at the rate λ(t, x).

    Starts e that are exponential of mean 1 make them stop at the rate λ. Steps end a little after
    e = 0: the law of the stopped points has an error of the order of the step.

    **Arguments:** `flow`: a system without noise. `rate`: λ(t, x) ≥ 0, such as the `stopping_rate`
    of `EquilibriumMatching`, or e^{r(t, x)} of an r that `stopping_loss` has taught.

    **Raises:** `ValueError` for points that are no pairs, and for a flow with noise.

    !!! example

        ```python
        start = fm.Particles((source.sample(a, 500), jr.exponential(b, (500,))))
        law = fm.StoppedFlow(matching, matching.stopping_rate)
        fm.simulate(law, start, [0.0, 5.0], dt=0.02, solver=diffrax.Euler()).final.x[0]
        ```
    """

    flow: AbstractMeanField
    rate: Callable[[FloatScalar, Array], FloatScalar]

    def rates(self, t, x, mu):
        if not (isinstance(x, tuple) and len(x) == 2):
            raise ValueError("The points of a StoppedFlow are pairs; give Particles((x, e)).")
        point, left = x
        law = self.flow.rates(t, point, mu)
        if law.noise is not None:
            raise ValueError("`flow` has noise; points of a StoppedFlow move without.")
        on = jnp.where(left > 0, 1, jnp.where(jnp.isnan(left), jnp.nan, 0)).astype(left.dtype)
        # A rate that is infinite stops a point in a step, and doesn't move those that rest.
        rate = jnp.minimum(self.rate(t, point), jnp.finfo(left.dtype).max ** 0.5)
        return Rates((on.astype(point.dtype) * law.velocity, -on * rate.astype(left.dtype)))


@checked
def stopping_loss(
    log_rate: Callable[[FloatScalar, Array], FloatScalar],
    matching: EquilibriumMatching,
    key: PRNGKey,
    n: Count,
) -> FloatScalar:
    r"""E log(1 + e^{r(X)}) + E log(1 + e^{−r(Y)}), X ~ ν, Y ~ ρ_1, by n draws of each.

    Telling data from points of all times, it is least at r = log ρ_1/ν, the logarithm of the rate
    of stopping.

    **Arguments:** `log_rate`: r(t, x), which is told the time 0, such as
    `MLP(d, out="scalar", time=0)`. `matching`: an `EquilibriumMatching`.

    **Raises:** `ValueError` for values that are no numbers.

    !!! example

        `fm.stopping_loss(lambda t, x: 0.0, fm.EquilibriumMatching(flow), key, 16)`
    """
    path = matching.path(key, n)
    still = jnp.zeros_like(path.target[:, 0])
    values: Any = jax.vmap(lambda t, *xs: tuple(jnp.asarray(log_rate(t, x)) for x in xs))
    mixed, data = values(still, path.point, path.target)
    if mixed.shape != (n,):
        raise ValueError(
            f"`log_rate` returned values of shape {mixed.shape[1:]}; return one number."
        )
    return jnp.mean(jax.nn.softplus(mixed) + jax.nn.softplus(-data))

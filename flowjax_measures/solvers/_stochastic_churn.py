r"""Stochastic churn: before each step of a flow the noise grows a little ([karras2022]).

    x̂ = α̂/(α(1 + g)) x + α̂ √(1 − (1 + g)⁻²) ξ,   α̂/β̂ = (1 + g) α/β,   x₁ = flow from t̂ to t₁

With I = αX_0 + βX_1, X_0 ~ N(0, I), the point x̂ has the law ρ_{t̂} of an earlier time t̂ where x has
ρ_t: fresh noise forgets errors of earlier steps, and asks for no score.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from .._custom_types import NonNegative, PRNGKey
from ..measures import Particles
from ..systems.generative._schedules import LinearSchedule, Schedule
from ._base import AbstractScheme, clock, step_index
from ._exponential_integrator import ExponentialIntegrator, noised

# The most that the noise grows in a step: √2, as in the source.
_MOST = 2**0.5 - 1


class StochasticChurn(AbstractScheme):
    r"""Steps of `ExponentialIntegrator` from noise that is churned, of `Particles`.

    **Arguments:**

    - `key`: of the noise.
    - `churn`: how much the noise of a step of length h grows, g = min(`churn` h, √2 − 1). 0 is the
      flow; on [0, 1] it is the source's S_churn.
    - `schedule`, `order`: as of `ExponentialIntegrator`.

    !!! example

        `simulate(flow, noise, [0.0, 1.0], dt=0.05, solver=StochasticChurn(key))`
    """

    key: PRNGKey
    churn: NonNegative = 10.0
    solver: ExponentialIntegrator = ExponentialIntegrator()

    orders: ClassVar = (2, None)

    def __init__(
        self, key: PRNGKey, churn: NonNegative = 10.0, schedule: Schedule = LinearSchedule(),
        order: int = 2,
    ):  # fmt: skip
        self.key, self.churn, self.solver = key, churn, ExponentialIntegrator(schedule, order)

    def init(self, terms, t0, t1, y0, args):
        if not isinstance(y0, Particles):
            raise ValueError("StochasticChurn steps Particles, which have noise of their own.")
        return self.solver.init(terms, t0, t1, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        time = clock(terms, t0)
        growth = 1 + jnp.minimum(self.churn * (t1 - t0), _MOST)
        earlier = _earlier(self.solver.schedule, time, growth)
        alpha, alpha_hat = (self.solver.schedule(t)[0] for t in (time, earlier))
        keep = alpha_hat / (alpha * growth)
        noise = alpha_hat * jnp.sqrt(1 - growth**-2)
        key = jax.random.fold_in(self.key, step_index(terms, t0, t1))
        y = noised(key, y0, keep, noise)
        # The solver's clock starts with the run, the schedule's with the noise.
        since = t0 + (earlier - time)
        y1, *rest = self.solver.step(terms, since, t1, y, args, solver_state, made_jump)
        return y1, None, dict(y0=y0, y1=y1), *rest[2:]


def _earlier(schedule, t, growth):
    """The time t̂ ≤ t at which α/β is `growth` times that of t, by bisection."""

    def share(s):
        alpha, beta, _ = schedule(s)
        return alpha / (alpha + beta)

    u = share(t)
    wanted = growth * u / (1 + (growth - 1) * u)

    def halved(_, ends):
        low, high = ends
        middle = (low + high) / 2
        over = share(middle) >= wanted
        return jnp.where(over, middle, low), jnp.where(over, high, middle)

    count = jnp.finfo(t.dtype).nmant + 2
    low, high = jax.lax.fori_loop(0, count, halved, (jnp.zeros_like(t), t))
    # At t = 0 all is noise, at any growth.
    return jnp.where(u >= 1, t, (low + high) / 2)

r"""A denoiser around a network whose input and output have the size one ([karras2022]).

    D(t, x) = (βs²/v) x + (αs/√v) F(t, x/√v),   v = α² + β²s²

for I = αX_0 + βX_1 with X_0 ~ N(0, I) and s the standard deviation of the data, so that F has to
say only what x doesn't show. Velocity and score are those of D, without a division by α.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Scalar
from ._schedules import LinearSchedule, Schedule, moving, within


class PreconditionedDenoiser(eqx.Module):
    """D(t, x) ≈ E[X_1 | I_t = x] by a network; also its velocity and score.

    **Arguments:** `network`: F(t, x). `deviation`: s, root mean square of the centred data.
    `schedule`: that of the interpolant, with γ = 0 and the source N(0, I).

    !!! example

        `learn(lambda D, key: denoising_loss(D, flow, key, 256, D.weight), denoiser, key=key)`, and
        `ProbabilityFlow(result.network.velocity, result.network.score)` is the system.
    """

    network: Callable[[FloatScalar, Array], Array]
    deviation: Scalar = 1.0
    schedule: Schedule = LinearSchedule()

    def _ends(self, t, x):
        """What D says of X_0 and X_1."""
        alpha, beta, _ = self.schedule(t)
        s = jnp.asarray(self.deviation, x.dtype)
        size = jnp.sqrt(alpha**2 + (beta * s) ** 2)
        found = s * self.network(t, x / size) / size
        return alpha * x / size**2 - beta * found, beta * s**2 * x / size**2 + alpha * found

    def __call__(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        return self._ends(within(t, x.dtype), x)[1]

    def velocity(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """b(t, x) = α̇ E[X_0 | x] + β̇ E[X_1 | x]."""
        t = within(t, x.dtype)
        _, (alpha_dot, beta_dot, _) = moving(self.schedule, t)
        source, target = self._ends(t, x)
        return alpha_dot * source + beta_dot * target

    def score(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """s(t, x) = −E[X_0 | x]/α, for t < 1."""
        t = within(t, x.dtype)
        return -self._ends(t, x)[0] / self.schedule(t)[0]

    def weight(self, t: FloatScalar) -> FloatScalar:
        """w(t) = v/(αs)², under which the loss of D is that of F, the same at all times."""
        alpha, beta, _ = self.schedule(t)
        s = jnp.asarray(self.deviation, jnp.result_type(alpha))
        return (alpha**2 + (beta * s) ** 2) / (alpha * s) ** 2

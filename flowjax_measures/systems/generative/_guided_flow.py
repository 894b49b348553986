r"""A flow guided by an observation of its end: posterior sampling with a prior that was learned.

    y = h(X_1) + e,   e ~ N(0, R),   D_y = D + V Aᵀ (A V Aᵀ + R)⁻¹ (y − h(D)),   A = ∇h(D),
    b_y = b + (β̇ − α̇β/α)(D_y − D),   D = E[X_1 | x],   V = Cov[X_1 | x] = (α²/β) ∇D

X_1 given x is taken as normal with its exact mean and covariance, which the velocity knows:
exact for a Gaussian prior and linear h, else an approximation ([boys2023]).
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar
from ..._numerics import positive_part
from ..._system import AbstractMeanField
from ...measures import Rates
from ...measures._base import concrete
from ._schedules import LinearSchedule, Schedule, moving, within

# At t = 0 the covariance is 0/0: its value at this time is taken before it.
_FIRST = 1e-3


class GuidedFlow(AbstractMeanField):
    r"""The flow of the prior's velocity, bent to points that an observation makes likely.

    **Arguments:**

    - `velocity`: b(t, x) of the prior, exact or learned, from the source N(0, I).
    - `forward`: h, a function of a point to a vector, or a matrix.
    - `observation`: y. `noise`: R, the covariance of its error.
    - `schedule`: that of the velocity, with γ = 0.

    The Jacobian ∇D takes d products. Where R is small take `ExponentialIntegrator`, whose steps
    need not be: the pull on x is stiff, D_y is not. Exact posteriors of mixtures are
    `linear_posterior`.

    !!! example

        `simulate(GuidedFlow(flow.velocity, A, y, R), Particles(noise), [0, 1], dt=0.02)`
    """

    velocity: Callable[[FloatScalar, Array], Array]
    forward: Callable[[Array], Array] | Float[Array, "k d"]
    observation: Float[Array, " k"]
    noise: Float[Array, "m m"]
    schedule: Schedule = LinearSchedule()

    span: ClassVar = (0.0, 1.0)

    def __check_init__(self):
        super().__check_init__()
        k = self.observation.size
        if self.noise.shape != (k, k):
            raise ValueError(f"`noise` has shape {self.noise.shape}; give R, of shape {(k, k)}.")
        if concrete(self.noise) and not bool(jnp.all(jnp.linalg.eigvalsh(self.noise) >= 0)):
            raise ValueError("`noise` is not positive semidefinite; give the covariance of errors.")

    def denoiser(self, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """E[X_1 | I_t = x] of the prior, by its velocity."""
        (alpha, beta, _), (alpha_dot, beta_dot, _) = moving(self.schedule, within(t, x.dtype))
        return (alpha * self.velocity(t, x) - alpha_dot * x) / (alpha * beta_dot - alpha_dot * beta)

    def rates(self, t, x, mu):
        t = within(t, x.dtype)
        late = jnp.maximum(t, jnp.asarray(_FIRST, x.dtype))
        (alpha, beta, _), (alpha_dot, beta_dot, _) = moving(self.schedule, late)
        clean = self.denoiser(late, x)
        slope = jax.jacfwd(lambda x: self.denoiser(late, x))(x)
        forward: Any = self.forward
        h: Any = forward if callable(forward) else lambda x: forward @ x
        if not callable(forward) and forward.shape[-1] != x.size:
            raise ValueError(f"`forward` has shape {forward.shape} for points of {x.size} numbers.")
        seen = jax.eval_shape(h, clean)
        if seen.shape != self.observation.shape:
            raise ValueError(
                f"`forward` gives {seen.shape} numbers of a point, and `observation` has "
                f"{self.observation.shape}."
            )
        matrix = jax.jacfwd(h)(clean)
        # V/α, which stays finite where V does not matter, at α = 0. What a network takes for a
        # negative variance is none.
        spread = positive_part(alpha / beta * slope)
        inner = alpha * (matrix @ spread @ matrix.T) + self.noise
        pull = spread @ (matrix.T @ jnp.linalg.solve(inner, self.observation - h(clean)))
        return Rates(self.velocity(t, x) + (alpha * beta_dot - alpha_dot * beta) * pull)

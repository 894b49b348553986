r"""The map of a flow from one time to another, in a few steps of a network ([boffi2024]).

    X_{s,t}(x) = x + (t − s) u(s, t, x),   ∂_t X_{s,t}(x) = v(t, X_{s,t}(x))

u is the average velocity of a path on its way from s to t. The second equation distils it from a
velocity v that is known or was learned.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import Count, FloatScalar, Positive, PRNGKey
from ..._numerics import checked
from ..._system import AbstractMeanField
from ...measures import Rates
from ...measures._base import concrete
from ._paths import Field, Path, drawn, values


class FlowMap(AbstractMeanField):
    r"""Points that go from t to t + h by the map of a flow, as one step of Euler of the size h.

    **Arguments:**

    - `average`: function of (t, x, c) to u(s, t, x), where c is the vector (s), such as
      `MLP(d, condition=1)`. `distillation_loss` teaches it.
    - `step`: h.

    !!! example

        ```python
        law = fm.FlowMap(average, 0.25)
        fm.simulate(law, start, [0.0, 1.0], dt=0.25, solver=diffrax.Euler()).final
        ```
    """

    average: Callable[[FloatScalar, Array, Array], Array]
    step: Positive

    def to(self, s: FloatScalar, t: FloatScalar, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """X_{s,t}(x)."""
        return mapped(self.average, jnp.asarray(s, x.dtype), jnp.asarray(t, x.dtype), x)

    def rates(self, t, x, mu):
        s = jnp.asarray(t, x.dtype)
        return Rates(self.average(s + jnp.asarray(self.step, x.dtype), x, s[None]))


def mapped(average: Callable, s: Array, t: Array, x: Array) -> Array:
    """x + (t − s) u(s, t, x)."""
    return x + (t - s) * average(t, x, s[None])


@checked
def distillation_loss(
    average: Callable[[FloatScalar, Array, Array], Array],
    velocity: Field,
    interpolant: Any,
    key: PRNGKey,
    n: Count,
) -> FloatScalar:
    r"""E‖∂_t X_{s,t}(I_s) − v(t, X_{s,t}(I_s))‖² by n draws: zero at the map of the flow of v.

    s is uniform, t uniform between s and the end.

    **Arguments:** `average`: as of `FlowMap`. `velocity`: v(t, x), the teacher: exact, or a network
    that `flow_matching_loss` has taught. `interpolant`: what draws the points I_s, a
    `StochasticInterpolant` or a `KacFlow`.

    **Raises:** `ValueError` for values of another shape than points.

    !!! example

        `fm.distillation_loss(lambda t, x, c: -x, lambda t, x: -x, flow, key, 16)`
    """
    paths, times = jax.random.split(key)
    path: Path = drawn(interpolant, paths, n)
    x, s, last = path.point, path.t, interpolant.span[1]
    if s is None or (concrete(last) and not np.isfinite(last)):
        raise ValueError("`interpolant` has no end in time; give a flow from one time to another.")
    end = jnp.asarray(last, x.dtype)
    t = s + (end - s) * jax.random.uniform(times, (n,), x.dtype)
    values(average, "average", x, t, x, s[:, None])

    def moved(s, t, x):
        return jax.jvp(lambda t: mapped(average, s, t, x), (t,), (jnp.ones_like(t),))

    there, moving = jax.vmap(moved)(s, t, x)
    found = values(velocity, "velocity", there, t, there)
    return jnp.mean(jnp.sum((moving - found) ** 2, axis=1))

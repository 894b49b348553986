r"""Flows under a condition, and guidance that needs no classifier ([ho2022]).

    dX = v(t, X) + w (v(t, X, c) − v(t, X)) dt

with a velocity that knows the condition c of a point, or none. w = 1 is the conditional law,
w = 0 the law of all, w > 1 exaggerates what sets c apart: it is no longer a law of the data.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._custom_types import Count, FloatScalar, PRNGKey, Scalar
from ..._numerics import checked
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Particles, Rates
from ...measures._base import concrete
from ._checks import check_ends, check_range
from ._draws import at, chosen, points, told
from ._paths import Pairing, interpolate, paired, values
from ._schedules import LinearSchedule, Schedule


class ConditionalFlow(AbstractMeanField):
    """Points `(x, c)` that move by a learned velocity under their condition c, which stays.

    **Arguments:** `velocity`: v(t, x, c), where c = −1 is no label. `guidance`: w; 1 asks for the
    conditional velocity alone, other values need integers c.

    !!! example

        `simulate(ConditionalFlow(v), Particles((noise, labels)), [0, 1], dt=0.02).final.x[0]`
    """

    velocity: Callable[[FloatScalar, Any, Any], Any]
    guidance: Scalar = 1.0

    def rates(self, t, x, mu):
        if not (isinstance(x, tuple) and len(x) == 2):
            raise ValueError("The points of a ConditionalFlow are pairs; give Particles((x, c)).")
        point, c = x
        label = jnp.issubdtype(c.dtype, jnp.integer)
        velocity = self.velocity(t, point, c)
        if not concrete(self.guidance) or float(self.guidance) != 1:
            if not label:
                raise ValueError("`guidance` is not 1, and needs labels: integers c, −1 for none.")
            free = self.velocity(t, point, jnp.full_like(c, -1))
            velocity = free + jnp.asarray(self.guidance, point.dtype) * (velocity - free)
        return Rates((velocity, None if label else jnp.zeros_like(c)))


@checked
def conditional_flow_matching_loss(
    velocity: Callable[[FloatScalar, Any, Any], Any],
    source: AbstractMeasure,
    data: Particles,
    key: PRNGKey,
    n: Count,
    *,
    schedule: Schedule = LinearSchedule(),
    drop: Scalar = 0.1,
    pairing: Pairing | None = None,
    condition_cost: Scalar | None = None,
) -> FloatScalar:
    r"""∫_0^1 E‖v(t, I_t, C) − İ_t‖² dt by n draws, with (X_1, C) of the data.

    **Arguments:**

    - `velocity`: v(t, x, c), such as an `MLP` with `labels=10` or with `condition=3`.
    - `source`: the law of X_0. `data`: `Particles((points, conditions))`, conditions integers (the
      labels) or vectors.
    - `schedule`: as of `StochasticInterpolant`.
    - `drop`: the share of labels that are hidden, as −1, so that v knows the law of all; vectors
      are never hidden.
    - `pairing`: as of `flow_matching_loss`. Alone it pairs regardless of conditions, which biases
      the source of each condition.
    - `condition_cost`: β, for pairs that are optimal under ‖x − y‖² + β‖c′ − c‖² (labels: β where
      c′ ≠ c), where X_0 has a condition c′ of its own. As n and then β grow, each condition is
      paired with all of the source ([chemseddine2024]).

    !!! example

        ```python
        fm.conditional_flow_matching_loss(
            lambda t, x, c: -x, ball, fm.Particles((mu.x, jnp.arange(8))), key, 16
        )
        ```
    """
    if not (isinstance(data.x, tuple) and len(data.x) == 2):
        raise ValueError("`data` has no conditions; give Particles((points, conditions)).")
    if condition_cost is not None and pairing is None:
        raise ValueError("`condition_cost` is that of a `pairing`; give one, such as `coupling`.")
    check_range("drop", drop, 1)
    check_range("condition_cost", condition_cost, np.inf)
    ends, target, hide, partners, rest = jax.random.split(key, 5)
    x, (y, c) = points(source, ends, n), at(data.x, chosen(data, target, n))
    check_ends(source, Particles(y))
    if pairing is not None:
        here, there = x, y
        if condition_cost is not None:
            others = at(data.x, chosen(data, jax.random.fold_in(target, 1), n))[1]
            sides = told(others, c, jnp.sqrt(jnp.asarray(condition_cost, x.dtype)))
            here, there = (jnp.concatenate(z, axis=1) for z in zip((x, y), sides, strict=True))
        index = paired(pairing, partners, here, there)
        y, c = at((y, c), index)
    if jnp.issubdtype(c.dtype, jnp.integer):
        c = jnp.where(jax.random.bernoulli(hide, drop, (n,)), -1, c)
    path = interpolate(schedule, rest, x, y)
    found = values(velocity, "velocity", path.point, path.t, path.point, c)
    return jnp.mean(jnp.sum((found - path.velocity) ** 2, axis=1))

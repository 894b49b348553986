r"""Regressions whose minimisers are the fields of a generative flow.

Each is a mean over n draws from `key`, differentiable in the field; `learn` does the rest. Fields
are functions of (t, x), such as `MLP`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..._custom_types import Count, FloatScalar, PRNGKey
from ..._numerics import checked
from ._paths import Field, Pairing, Path, drawn, values
from ._schedules import LinearSchedule
from ._stochastic_interpolant import StochasticInterpolant


@checked
def flow_matching_loss(
    velocity: Field, interpolant: Any, key: PRNGKey, n: Count, pairing: Pairing | None = None
) -> FloatScalar:
    r"""∫_0^1 E‖v(t, I_t) − İ_t‖² dt by n draws ([lipman2023], [albergo2023]).

    Its minimum, at the exact velocity, measures how much paths cross: 0 where the coupling is
    straight ([liu2023]).

    **Arguments:**

    - `velocity`: v(t, x), what is learned. `GradientField` keeps it a gradient.
    - `interpolant`: a `StochasticInterpolant`; or `EquilibriumMatching`, `KacFlow`, `PoissonFlow`,
      whose exact velocities are the minimisers as well. What depends on no time leaves t out.
    - `pairing`: pairs the n draws of source and target anew each time, by a function of two
      `Particles` to a plan: `coupling` is minibatch transport ([tong2024]), `lambda mu, nu:
      entropic_coupling(mu, nu, 0.1)` Sinkhorn's. `None` is the interpolant's coupling.

    !!! example

        `learn(lambda v, key: flow_matching_loss(v, flow, key, 256), MLP(2, key=a), key=b)`
    """
    free = isinstance(interpolant, StochasticInterpolant) and interpolant.coupling.independent
    if pairing is not None and not free:
        raise ValueError("`pairing` is for the independent ends of a `StochasticInterpolant`.")
    path: Path = drawn(interpolant, key, n, *([] if pairing is None else [pairing]))
    found = values(velocity, "velocity", path.point, path.t, path.point)
    return jnp.mean(jnp.sum((found - path.velocity) ** 2, axis=1))


@checked
def denoising_loss(
    denoiser: Callable,
    interpolant: Any,
    key: PRNGKey,
    n: Count,
    weight: Callable[[FloatScalar], FloatScalar] | None = None,
) -> FloatScalar:
    r"""∫_0^1 w(t) E‖D(t, I_t) − X_1‖² dt by n draws, least at D(t, x) = E[X_1 | I_t = x].

    **Arguments:**

    - `denoiser`: D(t, x); of a `BlindDenoising` f(y), which isn't told the time.
    - `interpolant`: a `StochasticInterpolant`, or a `BlindDenoising`: E‖f(x + σz) − x‖² with σ of
      its prior ([kadkhodaie2026]).
    - `weight`: w, 1 by default; `PreconditionedDenoiser.weight` makes all times count equally.

    !!! example

        `fm.denoising_loss(lambda t, x: x, fm.StochasticInterpolant(nu, mu), key, 16)`
    """
    path: Path = drawn(interpolant, key, n)
    points = (path.point,) if path.t is None else (path.t, path.point)
    found = values(denoiser, "denoiser", path.point, *points)
    gaps = jnp.sum((found - path.target) ** 2, axis=1)
    if weight is not None:
        gaps = jax.vmap(weight)(*points[:-1]) * gaps
    return jnp.mean(gaps)


@checked
def bridge_matching_loss(
    drift: Field, interpolant: StochasticInterpolant, key: PRNGKey, n: Count,
    pairing: Pairing | None = None,
) -> FloatScalar:  # fmt: skip
    r"""∫_0^1 E‖u(t, I_t) − (X_1 − I_t)/(1 − t)‖² (1 − t) dt by n draws ([shi2023]).

    With `LinearSchedule(sigma)` I is a mixture of Brownian bridges over the coupling, and at the
    minimum dX = u dt + σ dW has its marginals. Where the coupling is the entropic plan that is the
    Schrödinger bridge; the coupling (X_0, X_1) of the ends of the diffusion is nearer to it.

    **Arguments:** `drift`: u(t, x). `interpolant`: with a `LinearSchedule`. `pairing`: as of
    `flow_matching_loss`.

    !!! example

        `fm.bridge_matching_loss(lambda t, x: -x, fm.schroedinger_bridge(mu, nu, 0.5), key, 16)`
    """
    if not isinstance(interpolant.schedule, LinearSchedule):
        raise ValueError("`interpolant` has another schedule; bridges have a `LinearSchedule`.")
    path = interpolant.path(key, n, pairing)
    left = 1 - path.t[:, None]
    found = values(drift, "drift", path.point, path.t, path.point)
    return jnp.mean(jnp.sum(left * (found - (path.target - path.point) / left) ** 2, axis=1))

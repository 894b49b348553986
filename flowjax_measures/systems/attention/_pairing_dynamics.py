r"""The last phase of attention on the sphere: clusters merge pair by pair (Bruno, Pasqualotto and
Agazzi).

Masses α_j at x_j attract each other by exponentially little, and the closest pair wins by an
exponential factor. In its own time s, with dt = e^{β(1 − ⟨x_i, x_j⟩)} ds, it moves alone,

    x_i' = (α_j/α_i) P_{x_i} x_j,   x_j' = (α_i/α_j) P_{x_j} x_i,

along the geodesic between them, so that u = ⟨x_i, x_j⟩ has u' = (α_j/α_i + α_i/α_j)(1 − u²), and
they merge. At finite β the speeds have the denominators α_i + α_j E and α_j + α_i E, with
E = e^{−β(1 − u)}, which the limit lacks: they move the meeting point by O(β^{−1/2}), and with it
the logarithm of the next time by O(β^{1/2}). So they are kept here; `PairingFlow` is the limit.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._custom_types import Positive
from ..._numerics import checked
from ..._numerics._checks import check_positive
from ...measures import Particles
from ._pairing_flow import closest


class Merges(NamedTuple):
    """The merges in order: `pairs` (m − 1, 2), indices into the initial clusters, of which the
    first stands for the union; `times` (m − 1,) since the start; `log_times`; `points`
    (m − 1, d), where they met.

    !!! example

        `fm.pairing_dynamics(tokens, beta=100.0).pairs`
    """

    pairs: Int[Array, "m 2"]
    times: Float[Array, " m"]
    log_times: Float[Array, " m"]
    points: Float[Array, "m d"]


@checked
def pairing_dynamics(
    mu: Particles, beta: Positive, radius: float = 1e-3, lam1: Positive = 1.0, lam2: Positive = 1.0
) -> Merges:
    r"""The sequence of merges of clusters at the atoms of `mu`, in the time of the tokens.

    A pair at the angle φ₀ merges after

        t = ∫ dφ / (λ₂ sin φ [α_j E/(α_i + α_j E) + α_i E/(α_j + α_i E)])

    with E = e^{−βλ₁(1 − cos φ)}, from φ = `radius` to φ₀: to leading order log t is
    βλ₁(1 − cos φ₀). The others do not move meanwhile. All but the order is differentiable.

    **Arguments:** `mu`: particles on the sphere, their masses the α; `beta`: β > 0; `radius`: the
    angle at which two clusters count as one; `lam1`, `lam2`: QᵀK = λ₁I and V = λ₂I.

    **Returns:** `Merges`.

    !!! example

        `fm.pairing_dynamics(tokens, beta=100.0).times`
    """
    for name, number in (("beta", beta), ("radius", radius), ("lam1", lam1), ("lam2", lam2)):
        check_positive(name, number)
    x = mu.x / jnp.linalg.norm(mu.x, axis=1, keepdims=True)
    exponent = jnp.asarray(beta * lam1, x.dtype)

    def merge(state, _):
        x, mass, alive, elapsed = state
        i, j = closest(x, alive)
        cosine = jnp.vdot(x[i], x[j])
        across = x[j] - cosine * x[i]
        sine = jnp.sqrt(jnp.maximum(jnp.vdot(across, across), jnp.finfo(x.dtype).tiny))
        log_duration, way = _approach(jnp.arctan2(sine, cosine), radius, exponent, mass[i], mass[j])
        met = jnp.cos(way) * x[i] + jnp.sin(way) * across / sine
        elapsed = jnp.logaddexp(elapsed, log_duration)
        mass = mass.at[i].add(mass[j])
        return (x.at[i].set(met), mass, alive.at[j].set(False), elapsed), (i, j, elapsed, met)

    start = (x, jnp.exp(mu.log_weights()), jnp.full(len(x), True), jnp.asarray(-jnp.inf, x.dtype))
    _, (first, second, log_times, points) = jax.lax.scan(merge, start, length=len(x) - 1)
    log_times = log_times - jnp.log(jnp.asarray(lam2, x.dtype))
    return Merges(jnp.stack([first, second], 1), jnp.exp(log_times), log_times, points)


def _approach(angle, radius, beta, a, b):
    """The logarithm of the time until two masses are at `radius`, and how far the first goes."""
    # Gauss–Legendre in y = log tan(φ/2): dφ = sin φ dy and 1 − cos φ = 1 + tanh y.
    apart = angle > radius
    low = np.log(np.tan(radius / 2))
    high = jnp.log(jnp.tan(jnp.clip(angle, radius, np.pi - 4 * jnp.finfo(angle.dtype).eps) / 2))
    nodes, weights = (jnp.asarray(v, angle.dtype) for v in np.polynomial.legendre.leggauss(400))
    y, weights = (high + low) / 2 + (high - low) / 2 * nodes, weights * (high - low) / 2
    pull = jnp.exp(-beta * (1 + jnp.tanh(y)))
    first, second = b / (a + b * pull), a / (b + a * pull)
    exponent = beta * (1 + jnp.tanh(y)) - jnp.log(first + second)
    log_time = jax.nn.logsumexp(exponent, b=jnp.where(apart, weights, 1))
    way = jnp.sum(weights / jnp.cosh(y) * first / (first + second))
    # Below the radius both go to their centre of mass.
    way = jnp.where(apart, way + radius * b / (a + b), angle * b / (a + b))
    return jnp.where(apart, log_time, -jnp.inf), way

r"""The limit of attention's last phase in its own time (Bruno, Pasqualotto and Agazzi).

With dt = e^{β(1 − ⟨x_i, x_j⟩)} ds the closest pair of clusters of masses α moves alone,

    x_i' = (α_j/α_i) P_{x_i} x_j,   x_j' = (α_i/α_j) P_{x_j} x_i,

until it meets, as s → ∞: ⟨x_i, x_j⟩ = tanh(c s + …) with c = α_j/α_i + α_i/α_j.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._system import AbstractSystem
from ...measures import Increment, Particles
from ...measures._base import replace


class PairingFlow(AbstractSystem):
    """Particles on `Sphere()` of which only the closest pair moves.

    !!! example

        `simulate(PairingFlow(), clusters, [0.0, 3.0], dt=0.05)`; when they merge in the time of the
        tokens says `pairing_dynamics`.
    """

    def __call__(self, t, state):
        if not isinstance(state, Particles) or getattr(state.x, "ndim", 0) != 2:
            raise ValueError(
                f"PairingFlow was given {state}; it moves `Particles` (n, d) on `Sphere()`."
            )
        x, log_mass = state.x, state.log_weights()
        i, j = closest(x, jnp.full(len(x), True))

        def pull(a, b):
            return jnp.exp(log_mass[b] - log_mass[a]) * state.space.project(x[a], x[b])

        drift = jnp.zeros_like(x).at[i].set(pull(i, j)).at[j].set(pull(j, i))
        return Increment(replace(state, x=drift, log_w=None))


def closest(
    x: Float[Array, "n d"], alive: Bool[Array, " n"]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The pair i < j of the greatest inner product among those alive."""
    both = alive[:, None] & alive & (jnp.arange(len(x))[:, None] < jnp.arange(len(x)))
    found = jnp.argmax(jnp.where(both, jax.lax.stop_gradient(x @ x.T), -jnp.inf))
    return found // len(x), found % len(x)

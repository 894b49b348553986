r"""Minimising movements of the energy distance on the line, exactly, by sorting.

    x_i ∈ argmin_x  (x − x_{k,i})²/(2τ) + ∫ |x − y| ν(dy) − (A_i − C_i) x,   x + 2τ N(x) ∋ z_i

with A_i, C_i the masses of μ_k below and above x_{k,i}, N the distribution function of ν and
z_i = x_{k,i} + τ (1 + A_i − C_i). In the order of its atoms the energy of μ with itself is linear,
and N jumps at atoms of ν: there points stop, which Newton's method can't see.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..energies import MMD, AbstractEnergy
from ..kernels import EnergyDistance
from ..measures import Particles
from ..spaces import Euclidean


def is_sorted_movement(energy: AbstractEnergy, mu: Any) -> bool:
    """Whether a step of the energy from μ is one that `sorted_movement` knows."""
    return (
        isinstance(energy, MMD)
        and isinstance(energy.kernel, EnergyDistance)
        and all(_on_the_line(law) for law in (mu, energy.target))
    )


def sorted_movement(target: Particles, mu: Particles, tau: Any) -> Float[Array, "n 1"]:
    """The points after one step of length `tau` from `mu`."""
    x, w = mu.x[:, 0], jax.nn.softmax(mu.log_weights())
    order = jnp.argsort(x)
    upto = jnp.zeros_like(w).at[order].set(jnp.cumsum(w[order]))
    # 1 + A − C, in which an atom has no force on itself.
    z = x + jnp.asarray(tau, x.dtype) * (2 * upto - w)
    y, v = target.x[:, 0], jax.nn.softmax(target.log_weights())
    order = jnp.argsort(y)
    y, v = y[order], v[order]
    below = 2 * jnp.asarray(tau, x.dtype) * jnp.concatenate([jnp.zeros(1, v.dtype), jnp.cumsum(v)])
    passed = jnp.searchsorted(*jax.lax.stop_gradient((y + below[1:], z)))
    stops = jnp.concatenate([y, jnp.full(1, jnp.inf, y.dtype)])
    return jnp.minimum(z - below[passed], stops[passed])[:, None]


def _on_the_line(law: Any) -> bool:
    return (
        isinstance(law, Particles)
        and isinstance(law.space, Euclidean)
        and eqx.is_array(law.x)
        and law.x.shape[1:] == (1,)
    )

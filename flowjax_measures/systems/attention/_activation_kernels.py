r"""The kernel of a wide random layer: k(x, y) = E φ(⟨w, x⟩) φ(⟨w, y⟩) with w ~ N(0, I).

With r = |x|, s = |y| and u the cosine between x and y,

    relu  k = r s (√(1 − u²) + (π − arccos u) u) / 2π                       ([cho2009])
    erf   k = (2/π) arcsin(2 r s u / √((1 + 2r²)(1 + 2s²)))                 ([williams1998])

and any other φ by its Hermite series k = Σ_n a_n(r) a_n(s) u^n, a_n(r) = E φ(rZ) He_n(Z)/√n!.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._numerics import safe_sqrt

_NODES, _TERMS = 256, 96
_NAMES: dict[Any, str] = {jax.nn.relu: "relu", jax.lax.erf: "erf", jax.scipy.special.erf: "erf"}


def layer_kernel(
    activation: str | Callable[[Any], Any], x: Float[Array, " d"], y: Float[Array, " d"]
) -> Float[Array, ""]:
    """k(x, y) of the activation "relu", "erf", "linear", "tanh", or any function of a number.

    The series is exact to 1e-13 for tanh and to 1e-3 for functions with a kink.
    """
    activation = _NAMES.get(activation, activation)
    r2, s2, dot = jnp.vdot(x, x), jnp.vdot(y, y), jnp.vdot(x, y)
    if activation == "linear":
        return dot
    if activation == "erf":
        return 2 / np.pi * jnp.arcsin(2 * dot / jnp.sqrt((1 + 2 * r2) * (1 + 2 * s2)))
    r, s = safe_sqrt(r2), safe_sqrt(s2)
    product = r * s
    u = jnp.clip(dot / jnp.where(product > 0, product, 1), -1, 1)
    if activation == "relu":
        return product * _arc_cosine(u)
    phi = activation_function(activation)
    return jnp.polyval((_coefficients(phi, r) * _coefficients(phi, s))[::-1], u)


def layer_slope(activation: str | Callable[[Any], Any]) -> Float[Array, ""]:
    """k'(1) = E φ'(Z)², of unit vectors: the derivative of the kernel in their inner product."""
    z, w = np.polynomial.hermite_e.hermegauss(_NODES)
    slope = jax.vmap(jax.grad(activation_function(activation)))(jnp.asarray(z, float))
    return jnp.vdot(jnp.asarray(w / w.sum(), slope.dtype), slope**2)


def layer_mean(activation: str | Callable[[Any], Any], x: Float[Array, " d"]) -> Float[Array, ""]:
    """E φ(⟨w, x⟩), by the rules of `layer_kernel`."""
    activation = _NAMES.get(activation, activation)
    r = safe_sqrt(jnp.vdot(x, x))
    if activation == "relu":
        return r / np.sqrt(2 * np.pi)
    return _coefficients(activation_function(activation), r)[0]


def activation_function(activation: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function that a name stands for."""
    named = {
        "relu": jax.nn.relu, "erf": jax.lax.erf, "tanh": jnp.tanh, "linear": lambda a: a
    }  # fmt: skip
    if not callable(activation) and activation not in named:
        raise ValueError(f"`activation` is {activation!r}; give a function or one of {[*named]}.")
    return activation if callable(activation) else named[activation]


@jax.custom_jvp
def _arc_cosine(u):
    angle = jnp.arccos(u)
    return (jnp.sin(angle) + (np.pi - angle) * u) / (2 * np.pi)


@_arc_cosine.defjvp
def _arc_cosine_jvp(primals, tangents):
    # The derivatives of the two terms are infinite at u = 1, and cancel.
    (u,), (u_dot,) = primals, tangents
    return _arc_cosine(u), (np.pi - jnp.arccos(u)) / (2 * np.pi) * u_dot


def _hermite() -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Hermite nodes, and He_n/√n! times the weights at them, shape (terms, nodes)."""
    z, w = np.polynomial.hermite_e.hermegauss(_NODES)
    # Weights underflow far out, where an orthonormal recurrence would overflow: scale by √w.
    root = np.sqrt(w / w.sum())
    rows = [root, z * root]
    for n in range(1, _TERMS - 1):
        rows.append((z * rows[n] - np.sqrt(n) * rows[n - 1]) / np.sqrt(n + 1))
    return z, np.stack(rows[:_TERMS]) * root


_Z, _PROJECT = _hermite()


def _coefficients(phi, r):
    """a_0(r), a_1(r), …"""
    z, project = jnp.asarray(_Z, r.dtype), jnp.asarray(_PROJECT, r.dtype)
    return project @ phi(r * z)

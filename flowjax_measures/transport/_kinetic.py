r"""Kinetic optimal transport: measures of positions and velocities, moved by the least force.

    c_T((x, v), (y, w)) = min ∫_0^T ‖γ̈‖² dt,   γ from x with velocity v to y with velocity w
                        = (1/T) (12 ‖(y − x)/T − (v + w)/2‖² + ‖v − w‖²)

and the least cost of a plan is the least ∫∫ ‖F‖² dμ_t dt of a force in Vlasov's equation
∂_t μ + v·∇_x μ + ∇_v·(F μ) = 0 ([chen2018splines], [brigati2025]). With the half steps
z_±(x, v) = (√(12/T³) (x ± Tv/2), v/√T) it is c_T = ‖z_+(x, v) − z_−(y, w)‖²: transport with the
squared distance after a linear map.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Scalar
from ..energies._bures import bures_map
from ..measures import AbstractMeasure, Gaussian, Particles
from ..measures._base import replace
from ..spaces import Phase
from ._exact import coupling, wasserstein


def kinetic_cost(mu: AbstractMeasure, nu: AbstractMeasure, duration: Scalar = 1.0) -> FloatScalar:
    r"""The least cost min_π ∫ c_T dπ of kinetic transport; not a distance, and not symmetric.

    It vanishes where ν is μ after free motion over the time T. 1/2 of it is the rate of the large
    deviations of dv = dW.

    **Arguments:** `mu`, `nu`: particles whose points are `Phase(q, p)`, p the velocity, or
    Gaussians of the vector (q, p). `duration`: T.
    """
    return wasserstein(_half_step(mu, duration, 1), _half_step(nu, duration, -1)) ** 2


def kinetic_interpolation(
    mu: AbstractMeasure, nu: AbstractMeasure, t: FloatScalar, duration: Scalar = 1.0
) -> AbstractMeasure:
    """The measure of phases at time t in [0, T] on the way of least force: cubic splines.

    Between Gaussians a Gaussian; else the particles of the optimal plan, as in `mccann`.
    """
    ends = _half_step(mu, duration, 1), _half_step(nu, duration, -1)
    if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
        forth, back = (_matrix(mu, duration, sign) for sign in (1, -1))
        onward = jnp.linalg.solve(back, bures_map(*ends) @ forth)  # pyright: ignore
        d = mu.m.size // 2

        def spline(x, y):
            here, there = Phase(x[:d], x[d:]), Phase(y[:d], y[d:])
            return ravel_pytree(_hermite(here, there, t, duration))[0]

        step = jax.jacfwd(lambda x: spline(x, onward @ x))(mu.m)
        cov = step @ mu.cov @ step.T
        return Gaussian(spline(mu.m, nu.m), (cov + cov.T) / 2)
    plan = coupling(*ends)
    x, y = mu.atoms()[0], nu.atoms()[0]
    equal = all(isinstance(m, Particles) and m.log_w is None for m in (mu, nu))
    if equal and plan.shape[0] == plan.shape[1]:
        there = jax.tree.map(lambda a: a[jnp.argmax(plan, axis=1)], y)
        return Particles(jax.vmap(lambda p, q: _hermite(p, q, t, duration))(x, there))
    pairs = jax.vmap(lambda p: jax.vmap(lambda q: _hermite(p, q, t, duration))(y))(x)
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), pairs)
    return Particles(flat, jnp.log(plan.ravel()))


def _hermite(x: Phase, y: Phase, t: FloatScalar, duration: Scalar) -> Phase:
    """The cubic with given ends and velocities, and its velocity, at time t."""

    def at(s):
        def one(q, v, r, w):
            middle = q + duration * s * v
            curve = 3 * (r - q) - duration * (2 * v + w)
            return middle + s**2 * curve + s**3 * (duration * (v + w) - 2 * (r - q))

        return jax.tree.map(one, x.q, x.p, y.q, y.p)

    s = jnp.asarray(t / duration, ravel_pytree(x)[0].dtype)
    q, slope = jax.jvp(at, (s,), (jnp.ones_like(s),))
    return Phase(q, jax.tree.map(lambda a: a / duration, slope))


def _half_step(mu: Any, duration: Scalar, sign: int) -> Any:
    """The measure of z_±."""
    if isinstance(mu, Gaussian):
        matrix = _matrix(mu, duration, sign)
        cov = matrix @ mu.cov @ matrix.T
        return Gaussian(matrix @ mu.m, (cov + cov.T) / 2)
    if not (isinstance(mu, Particles) and isinstance(mu.x, Phase)):
        raise ValueError(
            f"Kinetic transport was given {type(mu).__name__} without velocities; give "
            "Particles(Phase(q, p)), or a Gaussian of (q, p)."
        )
    scale = jnp.sqrt(12 / duration**3)
    q = jax.tree.map(lambda q, p: scale * (q + sign * duration / 2 * p), mu.x.q, mu.x.p)
    return replace(mu, x=Phase(q, jax.tree.map(lambda p: p / jnp.sqrt(duration), mu.x.p)))


def _matrix(mu: Gaussian, duration: Scalar, sign: int) -> Float[Array, "d d"]:
    if mu.m.size % 2:
        raise ValueError(
            f"`m` has the odd length {mu.m.size}; kinetic transport is between Gaussians of (q, p)."
        )
    eye = jnp.eye(mu.m.size // 2, dtype=mu.m.dtype)
    scale = jnp.sqrt(12 / duration**3)
    top = [scale * eye, sign * scale * duration / 2 * eye]
    return jnp.block([top, [jnp.zeros_like(eye), eye / jnp.sqrt(duration)]])

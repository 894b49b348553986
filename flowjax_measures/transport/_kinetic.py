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
from .._numerics import checked
from .._numerics._checks import check_positive, within
from ..energies._bures import bures_coupling
from ..energies._ground import space_of
from ..measures import AbstractMeasure, Gaussian, Particles
from ..measures._base import replace
from ..spaces import Euclidean, Phase, Product, Torus
from ..spaces._product import is_flat
from ._exact import coupling, wasserstein
from ._geodesics import along
from ._masses import comparable


@checked
def kinetic_cost(mu: AbstractMeasure, nu: AbstractMeasure, duration: Scalar = 1.0) -> FloatScalar:
    r"""The least cost min_π ∫ c_T dπ of kinetic transport, a square; no distance, not symmetric.

    It vanishes where ν is μ after free motion over the time T. 1/2 of it is the rate of the large
    deviations of dv = dW.

    **Arguments:** `mu`, `nu`: particles whose points are `Phase(q, p)`, p the velocity, or
    Gaussians of the vector (q, p). Positions may live on a torus, `PhaseSpace(Torus())`, where
    curves may wind. `duration`: T > 0.

    !!! example

        `fm.kinetic_cost(fm.Particles(fm.Phase(mu.x, mu.x)), fm.Particles(fm.Phase(nu.x, nu.x)))`
    """
    check_positive("duration", duration)
    comparable(mu, nu)
    return wasserstein(_half_step(mu, duration, 1), _half_step(nu, duration, -1)) ** 2


@checked
def kinetic_interpolation(
    mu: AbstractMeasure, nu: AbstractMeasure, t: FloatScalar, duration: Scalar = 1.0
) -> AbstractMeasure:
    """The measure of phases at time t in [0, T] on the way of least force: cubic splines.

    Between Gaussians a Gaussian; else the particles of the optimal plan, as in `mccann`.

    **Raises:** `ValueError` for a `t` outside of [0, T] (NaN where it is traced).

    !!! example

        ```python
        fm.kinetic_interpolation(
            fm.Particles(fm.Phase(mu.x, mu.x)), fm.Particles(fm.Phase(nu.x, nu.x)), 0.5
        )
        ```
    """
    check_positive("duration", duration)
    t = within("t", t, 0.0, duration)
    space = comparable(mu, nu)
    ends = _half_step(mu, duration, 1), _half_step(nu, duration, -1)
    if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
        forth, back = (_matrix(mu, duration, sign) for sign in (1, -1))
        # E (X − m)(Y − n)ᵀ of the phases, from that of their half steps.
        cross = jnp.linalg.solve(forth, jnp.linalg.solve(back, bures_coupling(*ends).T).T)
        d = mu.m.size // 2

        def spline(x, y):
            here, there = Phase(x[:d], x[d:]), Phase(y[:d], y[d:])
            return ravel_pytree(_hermite(here, there, t, duration))[0]

        one, two = jax.jacfwd(spline, (0, 1))(mu.m, nu.m)
        mixed = one @ cross @ two.T
        cov = one @ mu.cov @ one.T + two @ nu.cov @ two.T + mixed + mixed.T
        return Gaussian(spline(mu.m, nu.m), (cov + cov.T) / 2)

    def move(x, y):
        if not is_flat(space):
            y = y._replace(q=_unwound(_base(space), x, y, duration))
        moved = _hermite(x, y, t, duration)
        return moved if is_flat(space) else moved._replace(q=_base(space).nearest(moved.q))

    return along(mu, nu, coupling(*ends), move)


def _base(space: Any) -> Any:
    """The torus of the positions."""
    return space.spaces.q


def _unwound(torus: Torus, x: Phase, y: Phase, duration: Scalar) -> Array:
    """The copy of y's position, on the space that covers the torus, that costs the least force."""
    free = x.q + duration * (x.p + y.p) / 2
    return free + torus.displacement(y.q, free)


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
    space = space_of(mu)
    if not is_flat(space):
        parts = getattr(space, "spaces", None)
        if not (isinstance(parts, Phase) and isinstance(parts.q, Torus)):
            raise ValueError(
                f"Kinetic transport was given points on {mu.space}; it knows flat space and "
                "PhaseSpace(Torus())."
            )
        space = Product(Phase(Torus(scale * parts.q.length), Euclidean()))
    moved = Phase(q, jax.tree.map(lambda p: p / jnp.sqrt(duration), mu.x.p))
    return replace(mu, x=moved, space=space)


def _matrix(mu: Gaussian, duration: Scalar, sign: int) -> Float[Array, "d d"]:
    if mu.m.size % 2:
        raise ValueError(
            f"`m` has the odd length {mu.m.size}; kinetic transport is between Gaussians of (q, p)."
        )
    eye = jnp.eye(mu.m.size // 2, dtype=mu.m.dtype)
    scale = jnp.sqrt(12 / duration**3)
    top = [scale * eye, sign * scale * duration / 2 * eye]
    return jnp.block([top, [jnp.zeros_like(eye), eye / jnp.sqrt(duration)]])

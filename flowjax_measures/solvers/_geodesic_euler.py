r"""Steps along geodesics ([arnold2024], [ghirardelli2025]).

    X₁ = exp_{X₀}(v h + σ dW)

On the orthogonal group, `Stiefel` of square matrices, it is the Lie–Euler method X₁ = X₀ expm(h Ω)
for v = X₀ Ω. Equivariant under isometries, and points stay on the space without a projection.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp

from .._system import displaced
from ..measures import Gaussian, Particles
from ..measures._base import replace
from ._base import AbstractScheme, clock, posed


class GeodesicEuler(AbstractScheme):
    """Euler's method by the exponential map, for particles on a space that has one.

    `Euclidean`, `Torus`, `Sphere`, `Stiefel` and `Product`s of them. Order 1, with noise 1/2.
    A `Gaussian` is pushed by x ↦ x + h v(x), exactly where v is affine, so that it stays one: it is
    what a step of Euler's method does to particles.

    !!! example

        `simulate(system, Particles(x, space=Sphere()), ts, dt=dt, solver=GeodesicEuler())`
    """

    orders: ClassVar = (1, 0.5)

    def init(self, terms, t0, t1, y0, args):
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        system, mu = posed(terms, y0)
        if isinstance(mu, Gaussian):
            end = displaced(system, clock(terms, t0), mu, jnp.asarray(t1 - t0, mu.m.dtype))
            y1 = replace(y0, m=end.m, cov=end.cov)
            return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful
        exponential = getattr(getattr(mu, "space", None), "exponential", None)
        if not isinstance(y0, Particles) or exponential is None:
            where = type(getattr(mu, "space", mu)).__name__
            raise ValueError(
                f"GeodesicEuler was given {where}, which has no exponential map here; run it from "
                "a Gaussian, or Particles on Euclidean, Torus, Sphere, Stiefel or their Product."
            )
        moved = terms.vf_prod(t0, y0, args, terms.contr(t0, t1))
        y1 = replace(y0, x=jax.vmap(exponential)(y0.x, moved.x))
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

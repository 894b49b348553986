r"""Poisson flow: points follow the field lines from a source to a target ([xu2022]).

    b(x) = ∫ E(x − y) μ_0(dy) − ∫ E(x − y) μ_1(dy),   E(z) = z/(|S^{d−1}| |z|^d),

so that b = ∇φ with ∇·b = Δφ = μ_0 − μ_1. On the line E = ½ sign jumps at an atom, and points pass
through it. Of a Gaussian the field is ∫_0^∞ (C + 2s)⁻¹(x − m) N(x; m, C + 2s) ds.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._custom_types import PRNGKey
from ..._numerics import safe_sqrt
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Gaussian, Particles, Rates
from ._draws import points
from ._paths import Path, interpolate
from ._schedules import LinearSchedule

# The trapezoidal rule in log(s/tr C); in one dimension the integrand falls as e^{−u/2} only.
_LOGARITHMS = np.arange(-40.0, 76.0, 0.2)


class PoissonFlow(AbstractMeanField):
    r"""The field of charges: positive at the source, negative at the target.

    **Arguments:** `source`, `target`: the measures μ_0 and μ_1 of mass one, fresh batches of
    particles, Gaussians or mixtures `Particles((means, covariances))`. `unit_speed`: b/|b|, the
    same lines at constant speed; b itself is of the size |x − y|^{1−d} near an atom.

    !!! example

        `fm.PoissonFlow(mu, nu)`
    """

    source: AbstractMeasure
    target: AbstractMeasure
    unit_speed: bool = eqx.field(static=True, default=False)

    def path(self, key: PRNGKey, n: int) -> Path:
        """`n` points between source and target, with the field of n other draws of both.

        The field of fresh draws has the mean b; at `unit_speed` that holds for many draws only.
        """
        one, two, three, four, rest = jax.random.split(key, 5)
        x, y = points(self.source, one, n), points(self.target, two, n)
        point = interpolate(LinearSchedule(), rest, x, y).point
        charges = [
            Particles(points(m, k, n)) for m, k in ((self.source, three), (self.target, four))
        ]
        there = jax.vmap(lambda x: self._pull(x, *charges))(point)
        return Path(jnp.zeros(n, x.dtype), point, there, x, y)

    def _pull(self, x, source, target):
        b = field(x, source) - field(x, target)
        if not self.unit_speed:
            return b
        speed = safe_sqrt(jnp.sum(b**2))
        return b / jnp.where(speed > 0, speed, 1)

    def velocity(self, t: Any, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """b(x), at any time."""
        return self._pull(x, self.source, self.target)

    def rates(self, t, x, mu):
        return Rates(self.velocity(t, x))


def field(x: Float[Array, " d"], mu: AbstractMeasure) -> Float[Array, " d"]:
    """∫ E(x − y) μ(dy), the field of the charges of a measure of mass one."""
    d = x.size
    if isinstance(mu, Gaussian):
        return _of_gaussian(x, mu.m, mu.cov)
    area = 2 * math.pi ** (d / 2) / math.gamma(d / 2)

    def pull(y):
        if isinstance(y, tuple):
            return _of_gaussian(x, *y)
        _check_sizes(x, y)
        z = x - y
        square = jnp.sum(z**2)
        apart = square > 0
        return jnp.where(apart, z / (area * jnp.where(apart, square, 1) ** (d / 2)), 0)

    return mu.mean(pull)


def _of_gaussian(x, m, cov):
    _check_sizes(x, m)
    values, vectors = jnp.linalg.eigh(cov)
    s = jnp.exp(jnp.asarray(_LOGARITHMS, x.dtype)) * jnp.trace(cov)
    spread = values + 2 * s[:, None]
    z = (x - m) @ vectors
    log = -jnp.sum(z**2 / spread + jnp.log(2 * jnp.pi * spread), axis=1) / 2
    weights = 0.2 * s * jnp.exp(log)
    return vectors @ (weights @ (z / spread))


def _check_sizes(x, y):
    if x.shape != y.shape:
        raise ValueError(f"`x` has shape {x.shape}, and charges are at points of {y.shape}.")

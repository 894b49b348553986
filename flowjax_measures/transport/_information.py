r"""Measures among each other: relative entropy, and the Fisher information relative to a potential.

KL(μ | ν) = ∫ log(dμ/dν) dμ,      I(μ | V) = ∫ ‖∇ log μ + ∇V‖² dμ
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._custom_types import FloatScalar, Point
from .._numerics import checked, jitted
from ..energies._ground import shared_space
from ..measures import AbstractMeasure, Gaussian, GridDensity, Particles
from ..measures._base import concrete
from ..measures._grid import _difference


@checked
def kl_divergence(mu: AbstractMeasure, nu: AbstractMeasure) -> FloatScalar:
    r"""The Kullback–Leibler divergence KL(μ | ν) of measures divided by their masses.

    Between Gaussians in closed form; between densities on one grid, cell by cell; between particles
    that share their points, by their weights. +∞ where μ has mass and ν has none.

    **Raises:** `ValueError` for other pairs, which have no density in each other.

    !!! example

        `fm.kl_divergence(fm.Gaussian(m, cov), fm.Gaussian(n, eye))`
    """
    shared_space(mu, nu)
    if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
        return _gaussians(mu, nu)
    if isinstance(mu, GridDensity) and isinstance(nu, GridDensity):
        alike = mu.rho.shape == nu.rho.shape and _equal((mu.lower, mu.upper), (nu.lower, nu.upper))
    else:
        both = isinstance(mu, Particles) and isinstance(nu, Particles)
        alike = both and _equal(mu.atoms()[0], nu.atoms()[0])
    if not alike:
        raise ValueError(
            f"`mu` is {type(mu).__name__} and `nu` {type(nu).__name__}, without a density in each "
            "other; give two Gaussians, two densities on one grid, or two weightings of the same "
            "particles. For samples take `mmd` or `sinkhorn_divergence`."
        )
    return _discrete(mu.atoms()[1], nu.atoms()[1])


@checked
def fisher_information(
    mu: AbstractMeasure, potential: Callable[[Point], FloatScalar]
) -> FloatScalar:
    r"""The relative Fisher information ∫ ‖∇ log μ + ∇V‖² dμ, the dissipation of KL(· | e^{−V}).

    From a Gaussian, exact for a quadratic V and by cubature beyond; from a density on a grid by
    differences of log ρ + V between cells, of second order in their size.

    **Arguments:** `mu`: a `Gaussian` or a `GridDensity`. `potential`: V.

    **Raises:** `ValueError` for particles, whose Fisher information is infinite.

    !!! example

        `fm.fisher_information(fm.Gaussian(m, cov), fm.Quadratic(1.0))`
    """
    if isinstance(mu, Gaussian):
        return _of_gaussian(mu, potential)
    if isinstance(mu, GridDensity):
        return _of_grid(mu, potential)
    raise ValueError(
        f"`mu` is {type(mu).__name__}, which has no density; give a Gaussian or a GridDensity."
    )


def _equal(one, two) -> bool:
    """Whether concrete arrays agree; traced ones are taken to."""
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False
    if not concrete(one, two):
        return True
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@jitted
def _gaussians(mu: Gaussian, nu: Gaussian):
    gap = nu.m - mu.m
    pull = jnp.linalg.solve(nu.cov, jnp.column_stack([mu.cov, gap]))
    logdets = [jnp.linalg.slogdet(m.cov)[1] for m in (mu, nu)]
    spread = jnp.trace(pull[:, :-1]) - gap.size + logdets[1] - logdets[0]
    return (spread + jnp.vdot(gap, pull[:, -1])) / 2


@jitted
def _discrete(log_a: Array, log_b: Array):
    log_a, log_b = jax.nn.log_softmax(log_a), jax.nn.log_softmax(log_b)
    held = ~jnp.isneginf(log_a)
    ratio = jnp.where(held, log_a, 0) - jnp.where(held, log_b, 0)
    return jnp.sum(jnp.where(held, jnp.exp(log_a) * ratio, 0))


@jitted
def _of_gaussian(mu: Gaussian, potential):
    inverse = jnp.linalg.inv(mu.cov)
    return mu.mean(lambda x: jnp.sum((jax.grad(potential)(x) - inverse @ (x - mu.m)) ** 2))


@jitted
def _of_grid(mu: GridDensity, potential):
    points = mu.centres().reshape(-1, mu.rho.ndim)
    held = mu.rho > 0
    level = jnp.log(jnp.where(held, mu.rho, 1))
    level = level + jax.vmap(potential)(points).reshape(mu.rho.shape)
    rho, total = mu.rho / mu.mass(), jnp.zeros((), mu.rho.dtype)
    for axis, periodic in enumerate(mu.periodic):
        slope = _difference(level, axis, periodic) / mu.spacing[axis]
        # The density between two cells: 0 where one of them is empty, as tails are.
        above = rho + _difference(rho, axis, periodic)
        between = jnp.sqrt(jnp.where((rho > 0) & (above > 0), rho * above, 0))
        total = total + jnp.sum(between * slope**2)
    return mu.cell * total

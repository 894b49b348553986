r"""Maps between measures: barycentric projections, linearised transport, quantisation.

T(x_i) = Σ_j π_ij y_j / Σ_j π_ij,   π the optimal plan of W₂ between the atoms
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import Count, FloatScalar, Scalar
from .._numerics import checked, safe_sqrt
from .._numerics._checks import check_positive
from .._reduce import tilted_mean
from ..energies._bures import bures_map
from ..energies._ground import check_flat, located, space_of
from ..energies._sinkhorn import _slope
from ..energies._sliced import _line, monotone
from ..measures import AbstractMeasure, Gaussian, Particles
from ..measures._base import replace
from ._entropic import entropic_potentials
from ._exact import coupling
from ._masses import comparable


@checked
def barycentric_map(mu: AbstractMeasure, nu: AbstractMeasure) -> Float[Array, "n d"]:
    """Where the optimal plan of W₂ sends the atoms of `mu`, in the mean.

    The plan counts as fixed for derivatives: those in the points of `nu` are right wherever the
    plan is unique, those in masses are 0.

    !!! example

        `fm.barycentric_map(mu, nu)`
    """
    space = comparable(mu, nu)
    check_flat("barycentric_map", mu, nu)
    (x, log_a), (y, log_b) = located(mu, space), located(nu, space)
    if x.shape[1] == 1:
        (x, log_a), log_b = jax.lax.stop_gradient(((x, log_a), log_b))
        here, there = _line(x[:, 0], jnp.exp(log_a)), _line(y[:, 0], jnp.exp(log_b))
        return jax.vmap(lambda s: monotone(s, here, there))(x[:, 0])[:, None]
    plan = jax.lax.stop_gradient(coupling(*jax.lax.stop_gradient((mu, nu))))
    share = jnp.sum(plan, axis=1, keepdims=True)
    alone = share == 0
    return jnp.where(alone, x, plan @ y / jnp.where(alone, 1, share))


@checked
def entropic_map(
    mu: AbstractMeasure, nu: AbstractMeasure, epsilon: Scalar
) -> Callable[[Float[Array, " d"]], Float[Array, " d"]]:
    r"""A transport map from samples that can be asked anywhere ([pooladian2021]).

        T_ε(x) = ∫ y e^{(g(y) − ‖x − y‖²)/ε} ν(dy) / ∫ e^{(g(y) − ‖x − y‖²)/ε} ν(dy)

    the conditional mean of the entropic plan, continued by its potential g. Between Gaussians it is
    affine, in closed form.

    **Arguments:** `mu`, `nu`: Gaussians, or measures with atoms in flat space. `epsilon`: ε > 0, in
    units of ‖x − y‖².

    **Returns:** T, a function of one point; its derivatives are those of the potential.

    !!! example

        `jax.vmap(fm.entropic_map(mu, nu, 0.1))(new_points)`
    """
    comparable(mu, nu)
    check_flat("entropic_map", mu, nu)
    check_positive("epsilon", epsilon)
    if isinstance(mu, Gaussian) and isinstance(nu, Gaussian):
        slope = _slope(mu.cov, nu.cov, epsilon)
        return lambda x: nu.m + slope @ (x - mu.m)
    g = entropic_potentials(mu, nu, epsilon)[1]
    y, log_b = located(nu, space_of(nu))
    level = jnp.asarray(epsilon, log_b.dtype)

    def image(x):
        logits = lambda atom: (atom[1] - jnp.sum((x - atom[0]) ** 2)) / level  # noqa: E731
        return tilted_mean(lambda atom: atom[0], logits, (y, g), log_b)[0]

    return image


@checked
def linearized_wasserstein(
    mu: AbstractMeasure, nu: AbstractMeasure, reference: AbstractMeasure
) -> FloatScalar:
    r"""The distance (∫ ‖T_μ − T_ν‖² dσ)^{1/2} of the maps from a `reference` σ ([wang2013]).

    It is W₂ itself on the line, of translates and scalings, and where `reference` is one of the
    two; never less else, up to the barycentric projection of plans that split atoms. Closed form
    between Gaussians.

    !!! example

        `fm.linearized_wasserstein(mu, nu, fm.Particles(jr.normal(key, (8, 2))))`
    """
    if all(isinstance(m, Gaussian) for m in (mu, nu, reference)):
        bend = bures_map(reference, mu) - bures_map(reference, nu)  # pyright: ignore
        spread = jnp.trace(bend @ reference.cov @ bend.T)  # pyright: ignore
        return safe_sqrt(jnp.sum((mu.m - nu.m) ** 2) + spread)  # pyright: ignore
    gap = barycentric_map(reference, mu) - barycentric_map(reference, nu)
    weights = jnp.exp(located(reference, space_of(reference))[1])
    return safe_sqrt(weights @ jnp.sum(gap**2, axis=1))


@checked
def quantize(mu: AbstractMeasure, start: Particles, iterations: Count = 50) -> Particles:
    r"""Points of given masses near `mu` in W₂: each moves to the mean of what it is sent.

    Lloyd's method with masses: x_i ← T(x_i) never increases W₂(·, μ), and ends at a critical point
    ([merigot2021]). For the sliced distance run `GradientFlow(SlicedWasserstein(mu))` from `start`.

    **Arguments:** `mu`: the measure, by its atoms; some hundreds beyond the line. `start`: the
    points to begin with, and their masses. `iterations`: the number of moves.

    !!! example

        `fm.quantize(mu, fm.Particles(mu.x[:3])).x`
    """
    move = lambda _, x: barycentric_map(replace(start, x=x), mu)  # noqa: E731
    return replace(start, x=jax.lax.fori_loop(0, iterations, move, start.x))

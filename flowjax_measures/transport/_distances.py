"""Distances between measures that have energies: sliced, entropic, of kernels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._custom_types import FloatScalar, Point, Scalar
from .._numerics import checked, jitted, safe_sqrt
from .._numerics._checks import check_positive
from ..energies import MMD, KernelSteinDiscrepancy, SinkhornDivergence, SlicedWasserstein
from ..energies._discrepancies import SteinKernel
from ..energies._entropic_cost import pairs_of
from ..energies._ground import check_flat, is_circle, shared_space
from ..energies._relaxed_schrodinger import relaxed_value
from ..kernels import EnergyDistance, InverseMultiquadric
from ..kernels._base import Kernel, correlate
from ..kernels._radial import on_space
from ..measures import AbstractMeasure, Particles
from ..spaces._product import is_flat
from ._exact import wasserstein
from ._masses import comparable
from ._sliced_spaces import sliced_by_circles
from ._sorts import sliced_on_the_host


@jitted
def _value(energy, mu):
    """Compiled once for each shape."""
    return energy(mu)


@jitted
def _root(energy, mu):
    """The root of an energy that is half a square."""
    return safe_sqrt(2 * energy(mu))


@checked
def sliced_wasserstein(
    mu: AbstractMeasure,
    nu: AbstractMeasure,
    directions: Float[Array, "k d"] | Float[Array, "k 2 d"] | None = None,
    weights: Float[Array, " k"] | None = None,
) -> FloatScalar:
    r"""The sliced distance SW₂, the root of the mean of W₂² over `directions`.

    On the line, and on the circle, it is W₂ itself. On spheres and tori slices are circles: great
    ones, to whose nearest points a sphere's are brought ([bonet2023]), and those of the phases
    Σ_i k_i x_i / L_i on a torus, with the distances of the space along them.

    **Arguments:** `mu`, `nu`: measures of equal mass. `directions`: unit vectors; `None` is exact
    on the line, takes 64 angles in the plane and a rule of some hundred directions beyond. On a
    sphere pairs of vectors that span the planes of great circles, shape (k, 2, d); `None` takes
    512. On a torus whole numbers k, shape (k, d); `None` takes small ones without a common divisor.
    `weights`: those of the directions, divided by their sum; equal by default.

    **Raises:** `ValueError` for points on other spaces, and for directions along which no circle
    closes.

    !!! example

        `fm.sliced_wasserstein(mu, nu, fm.sphere_directions(key, 200, 2))`
    """
    space = comparable(mu, nu)
    if is_circle(space, mu):
        return wasserstein(mu, nu)
    if not is_flat(space):
        return sliced_by_circles(mu, nu, space, directions, weights)
    energy = SlicedWasserstein(nu, directions, weights)
    known = sliced_on_the_host(energy, mu)
    return _root(energy, mu) if known is None else jnp.asarray(known)


@checked
def sinkhorn_divergence(mu: AbstractMeasure, nu: AbstractMeasure, epsilon: Scalar) -> FloatScalar:
    r"""The Sinkhorn divergence S_ε(μ, ν), a square, with the cost d(x, y)²; `SinkhornDivergence`.

    **Arguments:** `mu`, `nu`: measures of equal mass. `epsilon`: ε > 0, in units of the cost.

    !!! example

        `fm.sinkhorn_divergence(mu, nu, 0.1)` tends to `fm.wasserstein(mu, nu) ** 2` as ε → 0.
    """
    comparable(mu, nu)
    return _value(SinkhornDivergence(nu, epsilon), mu)


@checked
def unbalanced_sinkhorn_divergence(
    mu: AbstractMeasure, nu: AbstractMeasure, epsilon: Scalar, strength: Scalar = 1.0
) -> FloatScalar:
    r"""The Sinkhorn divergence of measures of any masses, a square ([sejourne2019]).

        OT(μ, ν) − ½ OT(μ, μ) − ½ OT(ν, ν) + ε/2 (μ(X) − ν(X))²

    with marginals relaxed by λ KL. It is positive, and 0 where μ = ν; differentiable once.

    **Arguments:** `mu`, `nu`: measures with the masses that they have. `epsilon`: ε > 0.
    `strength`: λ > 0; large for masses that should move and not be made.

    !!! example

        `fm.unbalanced_sinkhorn_divergence(mu, nu, 0.1, strength=1.0)`
    """
    shared_space(mu, nu)
    check_positive("epsilon", epsilon)
    check_positive("strength", strength)
    return _unbalanced(mu, nu, epsilon, strength)


@jitted
def _unbalanced(mu, nu, epsilon, strength):
    dtype = mu.atoms()[1].dtype
    epsilon, inverse = (jnp.asarray(v, dtype) for v in (epsilon, 1 / strength))

    def value(mu, nu):
        log_a, log_b = mu.atoms()[1], nu.atoms()[1]
        return relaxed_value(pairs_of(mu, nu), log_a, log_b, epsilon, inverse, inverse)

    gap = jnp.exp(mu.atoms()[1]).sum() - jnp.exp(nu.atoms()[1]).sum()
    return value(mu, nu) - (value(mu, mu) + value(nu, nu)) / 2 + epsilon / 2 * gap**2


@checked
def mmd(
    mu: AbstractMeasure, nu: AbstractMeasure, kernel: Kernel, unbiased: bool = False
) -> FloatScalar:
    r"""The maximum mean discrepancy, the root of ∬ k d(μ−ν) d(μ−ν); `unbiased`, not the root.

    Both measures are divided by their masses. A kernel of the distance takes that of the measures'
    space; a Gaussian enters in closed form or by a quadrature with all digits.

    **Arguments:** `unbiased`: particles are samples of laws, of which the square MMD² is estimated
    without bias: pairs of a particle with itself are left out. It may be negative, and is returned
    as it is. Other measures are laws themselves.

    **Returns:** MMD, or the estimate of MMD².

    !!! example

        `fm.mmd(mu, nu, fm.GaussianKernel(0.5))`; `fm.mmd(mu, nu, kernel, unbiased=True)` is 0 in
        the mean over samples of one law.
    """
    if unbiased:
        return _unbiased_mmd(mu, nu, on_space(kernel, shared_space(mu, nu)))
    return _root(MMD(nu, kernel), mu)


@jitted
def _unbiased_mmd(mu, nu, kernel):
    return _apart(kernel, mu) + _apart(kernel, nu) - 2 * correlate(kernel, mu, nu)


@jitted
def _apart(kernel, mu):
    """The mean of k over pairs of different samples, where a measure is one of samples."""
    whole = correlate(kernel, mu, mu)
    if not isinstance(mu, Particles):
        return whole
    square = jax.nn.softmax(mu.log_weights()) ** 2
    alone = jnp.vdot(square, jax.vmap(lambda x: kernel(x, x))(mu.x))
    return (whole - alone) / (1 - jnp.sum(square))


@checked
def energy_distance(mu: AbstractMeasure, nu: AbstractMeasure) -> FloatScalar:
    r"""2 E d(X, Y) − E d(X, X′) − E d(Y, Y′), a square, with independent X, X′ of μ and Y, Y′ of ν.

    !!! example

        `fm.energy_distance(fm.Particles(x), fm.Gaussian(m, cov))`
    """
    return 2 * _value(MMD(nu, EnergyDistance()), mu)


@checked
def ksd(
    mu: AbstractMeasure,
    potential: Callable[[Point], FloatScalar],
    kernel: Kernel = InverseMultiquadric(),
    unbiased: bool = False,
) -> FloatScalar:
    r"""The kernel Stein discrepancy of `mu` to e^{−V}, the root of ∬ u_V dμ dμ; `unbiased`, not it.

    **Arguments:** `potential`: V. `kernel`: k. `unbiased`: the particles are samples of a law, of
    which KSD² is estimated without bias, as in `mmd`.

    **Returns:** KSD, or the estimate of KSD².

    !!! example

        `fm.ksd(mu, fm.Quadratic(1.0))`; as the end of a run, `fm.simulate(flow, mu, ts,
        event=lambda t, mu: fm.ksd(mu, V) < 0.1)`
    """
    check_flat("ksd", mu)
    if unbiased:
        return _apart(SteinKernel(potential, kernel), mu)
    return _root(KernelSteinDiscrepancy(potential, kernel), mu)

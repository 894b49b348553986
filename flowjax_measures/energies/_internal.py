r"""Internal energies, which diffuse.

    Entropy       ∫ ρ log ρ dx                 ∂_t ρ = Δρ
    PowerEnergy   ∫ ρ^m dx / (m − 1)           ∂_t ρ = Δρ^m
    Exclusion     ∫ ρ log(ρ/(1 − φρ)) dx       ∂_t ρ = ∂²(ρ/(1 − φρ))
    Congestion    0 or ∞: ρ ≤ a ceiling        ∂_t ρ = Δp, a pressure p ≥ 0 where ρ is the ceiling

Their Wasserstein flow from particles is noise. A value or a first variation needs a density: from
particles a kernel estimates it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import FloatScalar, NonNegative, Positive
from ..kernels import GaussianKernel
from ..kernels._base import constant, log_convolve, log_mass, mass
from ..kernels._radial import DensityKernel
from ..measures import GridDensity, Particles
from ..measures._base import concrete, replace
from ..noise._noise import floating
from ._base import AbstractEnergy, AbstractTransportEnergy
from ._density import log_density
from ._ground import on_measure


class Entropy(AbstractEnergy):
    """∫ ρ log ρ dx, the negative of the differential entropy; δF/δμ = log ρ + 1.

    **Arguments:** `kernel`: estimates ρ from particles, where a value or a growth needs it.

    !!! example

        `fm.Entropy()(fm.Gaussian(jnp.zeros(2), jnp.eye(2)))`
    """

    kernel: DensityKernel | None = None

    def __call__(self, mu):
        if isinstance(mu, GridDensity):
            positive = mu.rho > 0
            rho = jnp.where(positive, mu.rho, 1)
            return jnp.sum(jnp.where(positive, rho * jnp.log(rho), 0)) * mu.cell
        return mass(mu) * mu.mean(lambda x: log_density(x, mu, self.kernel))

    def first_variation(self, x, mu):
        return log_density(x, mu, self.kernel) + 1

    def velocity(self, x, mu):
        return jax.tree.map(jnp.zeros_like, floating(x))

    def diffusivity(self, x, mu):
        return constant(x, 1.0)


class PowerEnergy(AbstractEnergy):
    r"""∫ ρ^m dx / (m − 1); δF/δμ = m/(m − 1) ρ^{m−1}, and the flow is the porous medium equation.

    **Arguments:** `exponent`: m > 0, not 1 (there it is `Entropy`). `kernel`: estimates ρ from
    particles.

    !!! example

        `fm.GradientFlow(fm.PowerEnergy(2.0))`
    """

    exponent: Positive
    kernel: DensityKernel | None = None

    def __check_init__(self):
        if concrete(self.exponent) and self.exponent == 1:
            raise ValueError("`exponent` is 1; take `Entropy`, which is its limit.")

    def __call__(self, mu):
        m = self.exponent
        if isinstance(mu, GridDensity):
            positive = mu.rho > 0
            power = jnp.where(positive, jnp.where(positive, mu.rho, 1) ** m, 0)
            return jnp.sum(power) * mu.cell / (m - 1)
        return jnp.exp(mu.logmean(lambda x: (m - 1) * log_density(x, mu, self.kernel))) / (m - 1)

    def first_variation(self, x, mu):
        return self.exponent / (self.exponent - 1) * self.diffusivity(x, mu)

    def velocity(self, x, mu):
        return jax.tree.map(jnp.zeros_like, floating(x))

    def diffusivity(self, x, mu):
        return jnp.exp((self.exponent - 1) * log_density(x, mu, self.kernel))


class Exclusion(AbstractEnergy):
    r"""∫ ρ log(ρ/(1 − φρ)) dx, rods on a line that cannot overlap ([tonks1936], [bruna2012]).

        δF/δμ = log(ρ/(1 − φρ)) + 1/(1 − φρ),   ∂_t ρ = ∂²_x (ρ/(1 − φρ)),   ρ < 1/φ

    The limit of n → ∞ Brownian rods of length φ/n: a strong interaction, of the range of the
    neighbours' distance. With y = x − φ μ(−∞, x], the line without the rods, it is the heat
    equation.

    **Arguments:** `fraction`: φ, the length of all rods together. `kernel`: estimates ρ from
    particles.

    !!! example

        `fm.GradientFlow(fm.Exclusion(0.1) + fm.PotentialEnergy(f))`
    """

    fraction: NonNegative
    kernel: DensityKernel | None = None

    def __call__(self, mu):
        taken = lambda x: jnp.log(self.diffusivity(x, mu))  # noqa: E731
        return Entropy(self.kernel)(mu) + mass(mu) * mu.mean(taken)

    def first_variation(self, x, mu):
        room = self.diffusivity(x, mu)
        return log_density(x, mu, self.kernel) + jnp.log(room) + room

    def velocity(self, x, mu):
        return jax.tree.map(jnp.zeros_like, floating(x))

    def diffusivity(self, x, mu):
        return 1 / (1 - self.fraction * jnp.exp(log_density(x, mu, self.kernel)))


class Congestion(AbstractTransportEnergy):
    r"""0 where ρ ≤ `ceiling` everywhere, else ∞: the density bound of a crowd ([maury2010]).

    Its flow is a pressure that lives where the bound is reached. Only minimising movements know
    it: on a grid, `JKO(tau, EntropicScaling(epsilon))`. A value needs a density.

    !!! example

        `fm.GradientFlow(fm.Congestion(1.5) + fm.PotentialEnergy(f))`
    """

    ceiling: Positive

    def __call__(self, mu):
        if isinstance(mu, GridDensity):
            top = jnp.max(mu.rho)
        else:
            top = jnp.exp(log_density(mu.mean(), mu))
        return jnp.where(top <= self.ceiling * (1 + 1e-6), 0, jnp.inf).astype(top.dtype)

    def first_variation(self, x, mu):
        return constant(x, 0.0)


class KernelEntropy(AbstractEnergy):
    r"""∫ log(k_h∗μ) dμ: the entropy at the scale h, with a flow of atoms ([carrillo2019]).

        δF/δμ(x) = log (k_h∗μ)(x) + ∫ k_h(x, y) / (k_h∗μ)(y) μ(dy)

    For N(m, Σ) the density inside the logarithm is that of N(m, Σ + h²I): the value is biased by
    −h⁴ tr(Σ⁻²)/4 + O(h⁶), and a flow ends with covariances wrong by O(h⁴).

    **Arguments:** `kernel`: the Gaussian kernel of bandwidth h.

    !!! example

        `fm.GradientFlow(fm.KernelEntropy(fm.GaussianKernel(0.3)))`
    """

    kernel: GaussianKernel

    def __call__(self, mu):
        kernel = on_measure(self.kernel, mu)
        smoothed = mu.mean(lambda x: log_density_smoothed(kernel, x, mu))
        return mass(mu) * (smoothed + jnp.log(mass(mu)))

    def first_variation(self, x, mu):
        kernel = on_measure(self.kernel, mu)
        ratio = mu.mean(lambda y: jnp.exp(kernel.log(x, y) - log_convolve(kernel, y, mu)))
        return log_density_smoothed(kernel, x, mu) + ratio

    def velocity(self, x, mu):
        if isinstance(mu, Particles) and mu.sharding is None:
            return _apart(on_measure(self.kernel, mu), x, mu)
        return jax.tree.map(jnp.negative, eqx.filter_grad(self.first_variation)(x, mu))

    def diffusivity(self, x, mu):
        return None


def _apart(kernel: GaussianKernel, x, mu: Particles):
    """The velocity among atoms, whose densities are summed once for all points."""
    logs = jax.vmap(lambda y: log_convolve(kernel, y, mu))(mu.x)
    # Far from all others, an atom without mass has density 0.
    atoms = replace(mu, x=(mu.x, jnp.where(jnp.isneginf(logs), 0, logs)))

    def parts(atom):
        y, share = floating(atom[0]), jnp.exp(-atom[1])
        return y, share, jax.tree.map(lambda a: share * a, y)

    (mean, share, pulled), log_total = atoms.tilt(parts, lambda atom: kernel.log(x, atom[0]))
    here = jnp.exp(log_total - log_mass(mu))
    return jax.tree.map(
        lambda a, m, p: (a - m + here * (share * a - p)) / kernel.bandwidth**2,
        floating(x), mean, pulled,
    )  # fmt: skip


def log_density_smoothed(kernel: GaussianKernel, x, mu) -> FloatScalar:
    """log (k_h∗μ)(x) with k_h of integral one."""
    return log_convolve(kernel, x, mu) + kernel.log_density(x, x)

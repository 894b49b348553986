r"""The porous medium equation by particles that move along an estimated score ([jacobs2023]).

    dX = −m ρ^{m−1} ∇ log ρ dt,   ∂_t ρ = Δρ^m,   ρ = k_h∗μ

Without noise: each particle follows the velocity −∇(m/(m − 1) ρ^{m−1}) of the density that all of
them have at the scale h of a kernel; for m = 1 it is the heat equation by scores, for m = 2
the blob method. With n → ∞ particles the error is of the order h², as long as kernels overlap.
"""

import jax
import jax.numpy as jnp

from ..._custom_types import Positive
from ..._system import AbstractMeanField
from ...energies._density import log_density
from ...kernels import GaussianKernel
from ...measures import Rates


class ScorePorousMedium(AbstractMeanField):
    r"""Particles of a gas in a porous medium, or with m = 1 of heat.

    Explicit steps must resolve the kernel: dt below h²/(2mρ^{m−1}).

    **Arguments:** `exponent`: m > 0. `kernel`: the Gaussian kernel of bandwidth h that estimates ρ
    from particles; from a `Gaussian` and a `GridDensity` it is not looked at, ρ being known.

    !!! example

        `law = fm.ScorePorousMedium(2.0, fm.GaussianKernel(0.1))`
        `fm.simulate(law, fm.Particles(x), [0.1, 0.5], dt=0.005)`
    """

    exponent: Positive
    kernel: GaussianKernel | None = None

    def rates(self, t, x, mu):
        value, score = jax.value_and_grad(log_density)(x, mu, self.kernel)
        power = jnp.exp((jnp.asarray(self.exponent, x.dtype) - 1) * value)
        return Rates(-self.exponent * power * score)

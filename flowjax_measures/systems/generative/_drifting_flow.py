r"""Drifting by the means that a kernel sees ([deng2026]).

    v[μ](x) = ⟨y⟩_{ν, log k(x,·)} − ⟨y⟩_{μ, log k(x,·)}

the mean shift towards the target less that towards the points themselves (Nadaraya–Watson), zero
at μ = ν. With a Gaussian kernel of bandwidth h it is h²∇ log((k∗ν)/(k∗μ)). Two other drifts are
gradient flows: `GradientFlow(MMD(target, kernel))`, and of entropic transport half of
`GradientFlow(SinkhornDivergence(target, epsilon))`.
"""

import jax
import jax.numpy as jnp

from ..._custom_types import Point
from ..._system import AbstractMeanField
from ...kernels import AbstractExponentialKernel, GaussianKernel
from ...kernels._base import AbstractSmoothedKernel, Kernel, convolve
from ...measures import AbstractMeasure, Gaussian, Rates


class DriftingFlow(AbstractMeanField):
    """Points that drift to a target by kernel means; `drifting_loss` teaches it to a generator.

    **Arguments:** `target`: ν, a fresh batch. `kernel`: k > 0, of two points.

    !!! example

        `fm.simulate(fm.DriftingFlow(nu), mu, [0.0, 1.0], dt=0.1)`
    """

    target: AbstractMeasure
    kernel: Kernel = GaussianKernel()

    def rates(self, t, x, mu):
        return Rates(_seen(self.kernel, x, self.target) - _seen(self.kernel, x, mu))


def _seen(k: Kernel, x: Point, mu: AbstractMeasure) -> Point:
    """The mean of μ as the kernel sees it from x."""
    if isinstance(k, AbstractSmoothedKernel) and isinstance(mu, Gaussian):
        # E k(x − Y)(Y − m) = −Σ ∇(k∗μ)(x), by parts.
        return mu.m - mu.cov @ jax.grad(lambda x: jnp.log(convolve(k, x, mu)))(x)
    log = k.log if isinstance(k, AbstractExponentialKernel) else lambda x, y: jnp.log(k(x, y))
    return mu.mean(logits=lambda y: log(x, y))

r"""The Stein metric, of Stein variational gradient descent ([liu2016]).

    v(x) = −∫ k(x, y) ∇δF/δμ(y) μ(dy)
         = ∫ k(x, y) u(y) + D(y) ∇_y k(x, y) μ(dy)

for an energy whose Wasserstein flow transports with u and diffuses with D: by parts, atoms need no
density. For `KL` this is SVGD, ∫ −k(x, y) ∇V(y) + ∇_y k(x, y) μ(dy).
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from .._custom_types import Positive
from ..energies._ground import on_measure
from ..kernels import GaussianKernel, MatrixKernel, MedianKernel
from ..kernels._base import Kernel, constant, log_mass
from ..measures import Rates
from ..measures._base import concrete
from ..noise._noise import floating
from ._base import AbstractMetric


class Stein(AbstractMetric):
    """The geometry whose gradients are smoothed by a kernel; deterministic.

    **Arguments:** `kernel`: k(x, y), symmetric and positive definite; a `MatrixKernel`, whose
    values are matrices; or `MedianKernel()`, whose bandwidth follows the particles.

    !!! example

        ```python
        fm.simulate(
            fm.GradientFlow(fm.KL(f), fm.Stein(fm.GaussianKernel(1.0))), mu, [0.0, 0.1], dt=0.05
        )
        ```
    """

    kernel: Kernel | MatrixKernel | MedianKernel = GaussianKernel()

    def rates(self, energy, x, mu):
        kernel = self.kernel.of(mu) if isinstance(self.kernel, MedianKernel) else self.kernel
        kernel = on_measure(kernel, mu)
        if isinstance(kernel, GaussianKernel):
            return Rates(_gaussian(kernel, energy, x, mu))

        def pull(y):
            rate = energy.diffusivity(y, mu)
            weight = jnp.asarray(kernel(x, y))
            velocity = energy.velocity(y, mu)
            if weight.ndim == 2:
                moves = weight @ velocity
                slope = jnp.trace(jax.jacfwd(kernel, 1)(x, y), 0, 1, 2)
            else:
                moves = jax.tree.map(lambda v: weight * v, velocity)
                slope = eqx.filter_grad(lambda z: kernel(x, z))(y)
            return moves if rate is None else jax.tree.map(lambda v, s: v + rate * s, moves, slope)

        return Rates(mu.mean(pull))


def _gaussian(kernel: GaussianKernel, energy, x, mu):
    """With k = e^ℓ and ∇_y ℓ = (x − y)/h² all pairs enter through the weights of one tilted mean.

    Among particles that is one product of matrices; from a Gaussian the tilt is exact.
    """
    square = kernel.bandwidth**2

    def parts(y):
        moves, rate = energy.velocity(y, mu), energy.diffusivity(y, mu)
        if rate is None:
            return moves, constant(y, 0.0)
        return jax.tree.map(lambda v, a: v - rate / square * a, moves, floating(y)), rate / square

    (pull, rate), log_normaliser = mu.tilt(parts, lambda y: kernel.log(x, y))
    share = jnp.exp(log_normaliser - log_mass(mu))
    return jax.tree.map(lambda p, a: share * (p + rate * a), pull, floating(x))


class RegularizedStein(AbstractMetric):
    r"""The Stein metric between its two ends ([he2024]): with ι the integral operator of k,

        v = ((1 − ν) ι + ν I)^{-1} ι (−∇δF/δμ)

    ν = 1 is `Stein`; as ν → 0 the flow tends to that of Wasserstein, without noise. From
    particles: a linear system of their number.

    **Arguments:** `kernel`: k. `regularization`: ν in (0, 1].

    !!! example

        `fm.GradientFlow(fm.KL(f), fm.RegularizedStein(fm.GaussianKernel(1.0), 0.5))`
    """

    kernel: Kernel = GaussianKernel()
    regularization: Positive = 0.5

    def __check_init__(self):
        if concrete(self.regularization) and self.regularization > 1:
            raise ValueError(f"`regularization` is {self.regularization}; give ν in (0, 1].")

    def rates(self, energy, x, mu):
        nu, kernel = self.regularization, on_measure(self.kernel, mu)
        stein = Stein(kernel)
        points, log_weights = mu.atoms()
        smooth = lambda y: stein.rates(energy, y, mu).velocity  # noqa: E731
        weights = jax.nn.softmax(log_weights)
        gram = jax.vmap(lambda a: jax.vmap(lambda b: jnp.asarray(kernel(a, b)))(points))(points)
        system = (1 - nu) * gram * weights + nu * jnp.eye(len(weights), dtype=gram.dtype)
        solved = jnp.linalg.solve(system, jax.vmap(smooth)(points))
        # The equation ν v(x) = s(x) − (1 − ν) ∫ k(x, y) v(y) μ(dy) extends v to all points.
        row = jax.vmap(lambda b: kernel(x, b))(points) * weights
        return Rates((smooth(x) - (1 - nu) * row @ solved) / nu)

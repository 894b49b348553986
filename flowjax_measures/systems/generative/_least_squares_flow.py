r"""The velocity of least energy along a path of measures ([benamou2000], [neklyudov2023]).

    min ∫ ‖v‖² dμ_t   over   ∂_t μ_t + ∇·(v μ_t) = 0   is   v = ∇ψ,   ∇·(μ ∇ψ) = −∂_t μ,

whose weak form, ∫ ⟨∇ψ, ∇φ⟩ dμ = d/dt ∫ φ dμ for all φ, is solved in a span, ψ = Σ_k c_k φ_k:

    G c = r,   G_kl = ∫ ⟨∇φ_k, ∇φ_l⟩ dμ_t,   r_k = d/dt ∫ φ_k dμ_t.

Where the span is rich enough the action ∫_0^1 ⟨r, G⁻¹r⟩ dt is at least W₂² of the ends, and W₂² on
geodesics. For Gaussians quadratic potentials are enough.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._custom_types import FloatScalar, Point
from ..._system import AbstractMeanField
from ...measures import AbstractMeasure, Gaussian, Rates


class LeastSquaresFlow(AbstractMeanField):
    """The gradient field that moves points along a path of measures.

    **Arguments:** `path`: t ↦ μ_t, a measure whose fields depend on t. `potentials`: function of a
    point to the values φ_k, shape (k,); only their span counts.

    !!! example

        `LeastSquaresFlow(lambda t: mccann(mu, nu, t), potentials)` is the W₂ geodesic.
    """

    path: Callable[[FloatScalar], AbstractMeasure]
    potentials: Callable[[Point], Float[Array, " k"]]

    def _solve(self, t):
        measure = self.path(t)

        def products(x):
            slopes = jax.jacfwd(self.potentials)(x)
            return slopes @ slopes.T

        moments = lambda t: self.path(t).mean(self.potentials)  # noqa: E731
        change = jax.jvp(moments, (t,), (jnp.ones_like(t),))[1]
        gram = measure.mean(products)
        # Potentials that depend on each other have one gradient in their span all the same: that of
        # the shortest c, with potentials of unit length.
        diagonal = jnp.diagonal(gram)
        length = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
        scaled = gram / jnp.outer(length, length)
        cut = 100 * len(length) * jnp.finfo(gram.dtype).eps
        inverse = jnp.linalg.pinv(scaled, rtol=cut, hermitian=True)
        return inverse @ (change / length) / length, change

    def action(self, t: FloatScalar) -> FloatScalar:
        """∫ ‖v_t‖² dμ_t."""
        return jnp.vdot(*self._solve(jnp.asarray(t, float)))

    def log_density(self, t: FloatScalar, x: Float[Array, " d"]) -> FloatScalar:
        """Of μ_t, where the path is of Gaussians."""
        measure = self.path(jnp.asarray(t, x.dtype))
        if not isinstance(measure, Gaussian):
            raise ValueError(f"`path` is of {type(measure).__name__}, without a `log_density`.")
        return measure.log_density(x)

    def rates(self, t, x, mu):
        weights, _ = self._solve(jnp.asarray(t, x.dtype))
        return Rates(jax.grad(lambda z: jnp.vdot(weights, self.potentials(z)))(x))
